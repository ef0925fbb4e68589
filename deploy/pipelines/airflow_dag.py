"""A DAG of Airflow 3 that takes a model to the fleet: start it with `{"version": "7"}`.

The keys, and the folder that edge-fleet init made, lie with the worker. `wait` is retried by nothing: exit code 5 says
that devices went back, or that too few confirmed it in time.
"""

from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param
from airflow.sdk.bases.operator import chain

SCRIPT = "/opt/edge-run/deploy/pipelines/release.sh"
STEPS = ("convert", "verify", "add", "rollout", "wait", "promote")

with DAG(
    "release_model",
    schedule=None,
    max_active_runs=1,
    params={"version": Param(type="string", minLength=1)},
    tags=["edge-run"],
    doc_md=__doc__,
) as dag:
    chain(
        *(
            BashOperator(
                task_id=step,
                bash_command=f"sh {SCRIPT} {step}",
                append_env=True,
                env={
                    "VERSION": "{{ params.version }}",
                    "MODEL": "/srv/models/model.skops",
                    "SAMPLE": "/srv/models/rows.csv",
                    "FILE": "/srv/models/build/model.onnx",
                    "FLEET": "/srv/fleet",
                    "BROKER": "{{ var.value.fleet_broker }}",
                    "FLEET_PASSPHRASE": "{{ var.value.fleet_passphrase }}",
                },
                execution_timeout=timedelta(hours=3) if step == "wait" else timedelta(minutes=30),
                retries=0,
            )
            for step in STEPS
        )
    )
