"""New keys in the place of old ones. Devices follow by themselves: each new root is signed by the one before it.

The order is such that devices trust the repository at every moment, also where the command is killed:

1. New keys are written beside the old ones. Nothing trusts them.
2. What the roles have signed is signed anew by the old key and by the new one: good before the next step and after it.
3. The new root, or for a model's role the new targets, names the new keys alone. Now the old ones are worth nothing.
4. The new key files take the place of the old ones.

Where an old key is lost it cannot sign in step 2. Then the new key is named beside it first.
"""

from __future__ import annotations

from collections.abc import Sequence

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Root, Targets

from edge.errors import ConfigError, nearest
from edge.tools.fleet.keys import Keys, names
from edge.tools.fleet.metadata import MetadataFolder

ROOTED = ("targets", "snapshot", "timestamp")
"""The roles whose keys the root names; a model's is named by the targets."""


class Rotation:
    """Of one repository, once."""

    def __init__(self, metadata: MetadataFolder, keys: Keys) -> None:
        self._metadata = metadata
        self._keys = keys
        self._old: dict[str, list[CryptoSigner]] = {}
        self._new: dict[str, list[CryptoSigner]] = {}

    def rotate(self, roles: Sequence[str], *, lost: bool) -> list[str]:
        """Says what was done, a line each. Raises ConfigError before anything is written; OSError."""
        roles = self._known(roles)
        self._open(roles, lost=lost)
        before = {role: self._metadata.trusted(role) for role in roles}
        counts = {role: max(1, len(before[role])) if role == "root" else 1 for role in roles}
        self._new = {role: [self._keys.renewed(n) for n in names(role, count)] for role, count in counts.items()}
        self._name_beside([role for role in roles if role not in self._old])
        self._sign_by_both(roles)
        if any(role in ("root", *ROOTED) for role in roles):
            self._write_root([role for role in roles if role in ("root", *ROOTED)])
        for role, count in counts.items():
            for name in names(role, count):
                self._keys.settle(name)
        told = [
            f"{role}: key {', '.join(new.public_key.keyid[:12] for new in self._new[role])} signs, "
            f"{', '.join(sorted(i[:12] for i in before[role]))} is trusted no more"
            for role in roles
        ]
        return [*told, f"root {self._metadata.latest('root')}"]

    def _known(self, roles: Sequence[str]) -> list[str]:
        """All where none is said, each once. Raises ConfigError."""
        there = ("root", *ROOTED, *self._metadata.models())
        for role in roles:
            if role not in there:
                raise ConfigError(
                    f"ROLE {role}: there is no such key{nearest(role, there)}; there is: {', '.join(there)}"
                )
        return [role for role in there if role in (roles or there)]

    def _open(self, roles: Sequence[str], *, lost: bool) -> None:
        """Every key that is needed. Raises ConfigError."""
        needed = set(roles)
        if needed != {"root"}:
            needed |= {"snapshot", "timestamp"}
        if needed & set(self._metadata.models()):
            needed.add("targets")
        if needed & {"root", *ROOTED} & set(roles):
            needed.add("root")
        for role in sorted(needed):
            if role == "root":
                self._open_root()
                continue
            self._require_one(role)
            found = self._keys.find(role, self._metadata.trusted(role))
            if found is not None:
                self._old[role] = [found]
            elif role in roles and not lost:
                raise ConfigError(f"the key of {role} is not here; put it there from your copy, or say --lost")
            elif role not in roles:
                raise ConfigError(
                    f"the key of {role} is not here, and is needed for this; put it there from your copy, "
                    "or rotate it too, with --lost"
                )

    def _open_root(self) -> None:
        """As many of its keys as have to sign. Raises ConfigError."""
        trusted, role = self._metadata.trusted("root"), self._metadata.role("root")
        self._old["root"] = self._keys.present("root", len(trusted), trusted)
        wanted, here = role.threshold if role is not None else 1, len(self._old["root"])
        if wanted > 1 and here < wanted:
            raise ConfigError(
                f"{wanted} of the {len(trusted)} keys of root have to sign, and {here} of them "
                f"{'is' if here == 1 else 'are'} here: put {wanted - here} more there from your copies, as "
                f"{', '.join(f'{name}.pem' for name in names('root', len(trusted)))}"
            )
        if not here:
            raise ConfigError(
                "the key of root is not here: put it there from your copy. Without it no device can be told of "
                "other keys; if it is lost, edge-fleet init makes a repository anew, and each device needs its root"
            )

    def _require_one(self, role: str) -> None:
        """Raises ConfigError where one signature is not enough."""
        found = self._metadata.role(role)
        if found is not None and found.threshold > 1:
            raise ConfigError(
                f"{role} wants {found.threshold} signatures, and edge-fleet has one key for each role but root; "
                "rotate it with the tools that made it"
            )

    def _signers(self, role: str) -> list[CryptoSigner]:
        return [signer for keys in (self._old, self._new) for signer in keys.get(role, ())]

    def _name_beside(self, lost: Sequence[str]) -> None:
        """The new keys of roles whose old ones cannot sign any more."""
        if of_root := [role for role in lost if role in ROOTED]:
            root = self._metadata.root()
            for role in of_root:
                root.add_key(self._new[role][0].public_key, role)
            self._metadata.write("root", root, self._old["root"])
        if of_targets := [role for role in lost if role not in ROOTED]:
            targets = self._metadata.targets()
            for role in of_targets:
                targets.add_key(self._new[role][0].public_key, role)
            self._metadata.write("targets", targets, self._signers("targets"))

    def _sign_by_both(self, roles: Sequence[str]) -> None:
        """What these roles have signed, and what names that."""
        if list(roles) == ["root"]:
            return
        models = [role for role in roles if role not in ("root", *ROOTED)]
        for model in models:
            self._metadata.write(model, self._metadata.targets(model), self._signers(model))
        if models or "targets" in roles:
            targets = self._metadata.targets()
            for model in models:
                _exchange(targets, model, self._new[model])
            self._metadata.write("targets", targets, self._signers("targets"))
        self._metadata.publish(self._signers("snapshot"), self._signers("timestamp"))

    def _write_root(self, roles: Sequence[str]) -> None:
        root = self._metadata.root()
        for role in roles:
            _exchange(root, role, self._new[role])
        self._metadata.write("root", root, self._signers("root"))


def _exchange(delegator: Root | Targets, role: str, new: Sequence[CryptoSigner]) -> None:
    """Only the new keys count for a role, as many of them as before."""
    for keyid in list(delegator.get_delegated_role(role).keyids):
        delegator.revoke_key(keyid, role)
    for one in new:
        delegator.add_key(one.public_key, role)
