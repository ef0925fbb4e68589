"""A stranger's plug-in is found by its name, and told what is wrong with it before it runs."""

from __future__ import annotations

import sys

import pytest

from edge.errors import ConfigError
from edge.plugins import registry
from edge.plugins.contexts import SinkContext
from edge.plugins.declarations import EngineInfo, SinkInfo, SourceInfo

SINK = """
from edge.plugins.declarations import SinkInfo

class Sink:
    window = 1
    durable = False
    def open(self, events): self.events = events
    def send(self, entry): self.events.confirmed([entry.key])
    def close(self): pass
    {more}

SINK = SinkInfo(edge_api={api}, create=lambda rest, context: Sink())
"""


def made(name="mine"):
    declared = registry.declared(SinkInfo, name)
    return registry.checked("edge.sinks", name, declared.create("", SinkContext()))


def test_a_stranger_s_sink_is_found_by_its_name(install):
    install("their-sink", {"their_sink": SINK.format(api=1, more="")}, edge__sinks={"mine": "their_sink:SINK"})
    assert "mine" in registry.names("edge.sinks")
    assert made().window == 1


def test_a_plug_in_that_is_not_asked_for_is_not_imported(install):
    install("broken", {"broken_sink": "raise RuntimeError('at import')"}, edge__sinks={"broken": "broken_sink:SINK"})
    assert registry.declared(SinkInfo, "console").usage == "console"
    assert "broken_sink" not in sys.modules


def test_a_plug_in_that_does_not_load_is_named_with_its_distribution(install):
    install("broken", {"broken_too": "raise RuntimeError('at import')"}, edge__sinks={"broken": "broken_too:SINK"})
    with pytest.raises(ConfigError, match=r"the sink 'broken' of broken does not load: RuntimeError\('at import'\)"):
        registry.declared(SinkInfo, "broken")


def test_a_library_that_is_missing_is_told_as_the_plug_in_tells_it(install):
    code = "from edge.errors import ConfigError\nraise ConfigError('mine needs a library: pip install it')"
    install("picky", {"picky_sink": code}, edge__sinks={"picky": "picky_sink:SINK"})
    with pytest.raises(ConfigError, match=r"^mine needs a library: pip install it$"):
        registry.declared(SinkInfo, "picky")


def test_a_plug_in_for_newer_seams_asks_for_a_newer_runtime(install):
    install("newer", {"newer_sink": SINK.format(api=2, more="")}, edge__sinks={"newer": "newer_sink:SINK"})
    with pytest.raises(ConfigError, match=r"edge_api 2, here it is 1: pip install -U edge-run"):
        registry.declared(SinkInfo, "newer")


def test_an_entry_point_that_names_a_function_is_told_what_belongs_there(install):
    install("plain", {"plain_sink": "def create(rest): ..."}, edge__sinks={"plain": "plain_sink:create"})
    with pytest.raises(ConfigError, match=r"names a function, where a SinkInfo\(edge_api=1"):
        registry.declared(SinkInfo, "plain")


def test_a_misspelt_field_of_a_declaration_is_told(install):
    code = "from edge.plugins.declarations import SinkInfo\nSINK = SinkInfo(edge_api=1, creat=print)"
    install("typo", {"typo_info": code}, edge__sinks={"typo": "typo_info:SINK"})
    with pytest.raises(ConfigError, match=r"of typo does not load: .*creat"):
        registry.declared(SinkInfo, "typo")


def test_two_distributions_with_one_name_are_an_error_and_no_choice(install):
    for name in ("one", "two"):
        module = f"{name}_twin"
        install(name, {module: SINK.format(api=1, more="")}, edge__sinks={"twin": f"{module}:SINK"})
    with pytest.raises(ConfigError, match="the sink 'twin' is there twice, from one and two: uninstall one"):
        registry.declared(SinkInfo, "twin")


def test_our_own_name_is_ours_whatever_is_installed(install):
    install("usurper", {"usurper": SINK.format(api=1, more="")}, edge__sinks={"console": "usurper:SINK"})
    assert registry.declared(SinkInfo, "console").usage == "console"


@pytest.mark.parametrize("name", ["rest", "resets", "reset_", "Reset"])
def test_a_misspelt_capability_is_an_error_and_no_feature_that_is_off(install, name):
    engine = f"""
    from edge.plugins.declarations import EngineInfo
    from edge.plugins.protocols import EngineLibrary
    from edge.testing.fakes import DoublingEngine

    class Engine(DoublingEngine):
        def {name}(self): pass

    class Library(EngineLibrary):
        def load(self, path, options): return Engine()
        def version(self): return "1"

    ENGINE = EngineInfo(edge_api=1, library=Library, reads=lambda begin: True)
    """
    module = f"engine_{name}"
    install(module, {module: engine}, edge__engines={name: f"{module}:ENGINE"})
    library = registry.declared(EngineInfo, name).library()
    with pytest.raises(ConfigError, match=f"has '{name}': did you mean 'reset'.*see docs/PLUGINS.md"):
        registry.checked("edge.engines", name, library.load(None, None))


def test_a_part_that_lacks_a_method_of_its_seam_is_an_error(install):
    text = SINK.format(api=1, more="").replace("def close(self): pass", "")
    install("lacking", {"lacking": text}, edge__sinks={"lacking": "lacking:SINK"})
    with pytest.raises(ConfigError, match="the sink 'lacking' of lacking: Sink has no close, which a Sink must have"):
        made("lacking")


def test_names_of_its_own_do_not_disturb(install):
    more = "received = ()\n    def flush_now(self): pass"
    install("own-names", {"own_names": SINK.format(api=1, more=more)}, edge__sinks={"own": "own_names:SINK"})
    assert made("own").received == ()


def test_the_suffix_of_a_file_finds_the_plug_in(install):
    code = """
    from edge.plugins.declarations import SourceInfo
    SOURCE = SourceInfo(edge_api=1, create=print, usage="rows.parquet")
    """
    install("parquet", {"parquet_source": code}, edge__sources={".parquet": "parquet_source:SOURCE"})
    name = registry.name_for("edge.sources", ".PARQUET")
    assert registry.declared(SourceInfo, name).usage == "rows.parquet"
    assert ".parquet" not in registry.names("edge.sources")  # what a user says is the file


@pytest.mark.parametrize("kind", [SourceInfo, SinkInfo, EngineInfo])
def test_one_that_does_not_load_is_left_out_of_a_list(install, kind):
    group = kind.GROUP.replace(".", "__")
    install(f"bad-{group}", {f"bad_{group}": "1/0"}, **{group: {"bad": f"bad_{group}:X"}})
    listed = dict(registry.all_declared(kind))
    assert listed
    assert "bad" not in listed
