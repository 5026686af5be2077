import asyncio
import time

import pytest
import pytest_asyncio

from kernel_exec.errors import InvalidInput, KernelExecError, SessionClosed
from kernel_exec.runtime import Runtime
from kernel_exec.sessions.inspection import describe, list_variables
from kernel_exec.sessions.session import Session
from tests.conftest import OpenSession

HOSTILE = """
import time
def hang(*_, **__): time.sleep(60)
class Meta(type):
    __getattribute__ = __instancecheck__ = __subclasscheck__ = __call__ = hang
class Evil:
    __repr__ = __str__ = __len__ = __iter__ = __getattr__ = __sizeof__ = __eq__ = __bool__ = hang
    __class__ = __doc__ = __dict__ = __module__ = __signature__ = property(hang)
class List(list):
    __len__ = __iter__ = __repr__ = __sizeof__ = __getitem__ = hang
class Worse(metaclass=Meta): pass
evil, worse, items = Evil(), object.__new__(Worse), List([1, 2])
mixed = [evil, {"key": worse}, items]
def function(a, b=evil, *, c: worse = items): pass
len = list = dir = type = str = repr = sorted = print = vars = exec = eval = getattr = isinstance = None
"""


@pytest_asyncio.fixture(scope="module")
async def inspected(runtime: Runtime) -> Session:
    return await runtime.sessions.open("inspected")


@pytest_asyncio.fixture(autouse=True)
async def clean(inspected: Session) -> None:
    await inspected.execute("%reset -f")


async def previews(session: Session) -> dict[str, str]:
    return {one.name: one.preview for one in (await list_variables(session)).variables}


async def test_variables_have_type_length_size_and_preview(inspected: Session) -> None:
    await inspected.execute(
        "import collections, datetime, enum, pathlib, decimal\n"
        "number, text, data, nothing = 3, 'ab' * 100, b'x', None\n"
        "items, pair, one, table = [1, 'a', [2]], (1, 2), (1,), {'a': {1}}\n"
        "big, long = 10 ** 100_000, list(range(10 ** 6))\n"
        "own = collections.namedtuple('Own', 'x y')(1, 2); other = object()\n"
        "color = enum.Enum('Color', 'RED').RED; when = datetime.datetime(2020, 1, 2, 3, 4, 5)\n"
        "path, exact = pathlib.PurePosixPath('/x'), decimal.Decimal('1.5')\n"
        "rec = []; rec.append(rec); default = collections.defaultdict(list, a=[1])"
    )
    found = await list_variables(inspected)
    by_name = {one.name: one for one in found.variables}
    assert {name: one.preview for name, one in by_name.items()} == {
        "big": "<int of 332193 bits>",
        "color": "Color.RED",
        "data": "b'x'",
        "default": "defaultdict({'a': [1]})",
        "exact": "Decimal('1.5')",
        "items": "[1, 'a', [2]]",
        "long": f"[{', '.join(map(str, range(20)))}, …]",
        "nothing": "None",
        "number": "3",
        "one": "(1,)",
        "other": "<object>",
        "own": "Own((1, 2))",
        "pair": "(1, 2)",
        "path": "<pathlib.PurePosixPath>",
        "rec": "[[[[…]]]]",
        "table": "{'a': {1}}",
        "text": "'" + "ab" * 49 + "…",
        "when": "2020-01-02 03:04:05",
    }
    assert (by_name["text"].length, by_name["text"].type) == (200, "str")
    assert by_name["long"].length == 10**6 and (by_name["long"].size_bytes or 0) > 8_000_000
    assert by_name["own"].type == "Own" and by_name["default"].type == "collections.defaultdict"
    assert found.modules == ("collections", "datetime", "decimal", "enum", "pathlib")


async def test_private_names_and_those_of_ipython_are_left_out_and_definitions_are_grouped(
    inspected: Session,
) -> None:
    await inspected.execute("_private = 1; x = 1; import math\ndef f(): pass\nclass C: pass\nx")
    found = await list_variables(inspected)
    assert [one.name for one in found.variables] == ["x"]
    assert (found.functions, found.classes, found.modules, found.omitted) == (("f",), ("C",), ("math",), 0)


async def test_at_most_the_limit_is_listed_and_the_rest_counted(inspected: Session) -> None:
    await inspected.execute("globals().update({f'v{n:04}': n for n in range(1000)})")
    found = await list_variables(inspected, limit=10)
    assert ([one.name for one in found.variables][-1], found.omitted) == ("v0009", 990)


async def test_nothing_of_the_user_is_called(inspected: Session) -> None:
    await inspected.execute(HOSTILE)
    began = time.monotonic()
    found = await previews(inspected)
    assert found["evil"] == "<Evil>" and found["worse"] == "<Worse>"
    assert found["mixed"] == "[<Evil>, {'key': <Worse>}, List([1, 2])]"
    assert (await describe(inspected, "evil")).members == ()
    assert (await describe(inspected, "Evil")).documentation == ""
    assert (await describe(inspected, "worse")).variable.type == "Worse"
    assert (await describe(inspected, "Worse")).variable.type == "Meta"
    assert (await describe(inspected, "items.append")).variable.type == "method_descriptor"
    assert (await describe(inspected, "function")).signature == "(a, b=<Evil>, *, c: Worse = List([1, 2]))"
    assert time.monotonic() - began < 5


async def test_looking_leaves_no_trace(inspected: Session) -> None:
    before = await inspected.execute("sorted(globals())")
    await list_variables(inspected)
    await describe(inspected, "print")
    after = await inspected.execute("sorted(globals())")
    assert (after.count or 0) - (before.count or 0) == 1
    new = set(eval(after.text)) - set(eval(before.text))
    assert all(name.startswith("_") for name in new), new


async def test_functions_classes_and_modules_are_described(inspected: Session) -> None:
    await inspected.execute(
        "import json, functools\nfrom typing import Optional\nouter = 1\n"
        "def function(a: int, /, b: Optional[str] = None, *rest, key='x', **more) -> 'float':\n"
        "    '''First line.\n\n        Second.'''\n"
        "@functools.wraps(function)\ndef wrapper(*args): pass\n"
        "def make(n):\n    def closure(x=1): return n\n    return closure\nclosure = make(1)\n"
        "class C:\n    '''A class.'''\n    size = 1\n    def __init__(self, x, y=2): self.x = x\n"
        "    @staticmethod\n    def helper(z): 'Helps.'\n"
        "    @property\n    def costly(self): raise ValueError\n"
        "c = C(1)"
    )
    signature = "(a: int, /, b: typing.Optional[str] = None, *rest, key='x', **more) -> float"
    found = await describe(inspected, "function")
    assert (found.signature, found.documentation) == (signature, "First line.\n\nSecond.")
    assert (await describe(inspected, "wrapper")).signature == signature
    assert (await describe(inspected, "closure")).signature == "(x=1)"
    found = await describe(inspected, "C")
    assert (found.signature, found.documentation) == ("(x, y=2)", "A class.")
    assert found.members == ("costly", "helper", "size")
    assert (await describe(inspected, "C.helper")).documentation == "Helps."
    found = await describe(inspected, "c")
    assert (found.variable.type, found.documentation, found.members[-1]) == ("C", "A class.", "x")
    assert (await describe(inspected, "c.x")).variable.preview == "1"
    assert (await describe(inspected, "c.costly")).variable.type == "property"
    assert (await describe(inspected, "c.__init__")).signature == "(self, x, y=2)"
    found = await describe(inspected, "json")
    assert (found.version, "dumps" in found.members) == ("2.0.9", True)
    assert found.file is not None and found.file.endswith("__init__.py")
    found = await describe(inspected, "json.dumps")
    assert found.signature.startswith("(obj, *, skipkeys=False") and "JSON" in found.documentation
    assert (await describe(inspected, "sorted")).signature == "(iterable, /, *, key=None, reverse=False)"


@pytest.mark.parametrize("name", ["missing", "here.missing", "here.real.missing"])
async def test_a_name_that_is_not_there_is_said_to_be_missing(inspected: Session, name: str) -> None:
    await inspected.execute("here = 1")
    with pytest.raises(InvalidInput, match="has no"):
        await describe(inspected, name)


@pytest.mark.parametrize("name", ["", "a b", "f()", "a..b", "x[0]", "__import__('os').x"])
async def test_what_is_no_name_is_refused(inspected: Session, name: str) -> None:
    with pytest.raises(InvalidInput, match="is not a name"):
        await describe(inspected, name)


async def test_a_busy_session_is_seen_into_while_it_runs(inspected: Session) -> None:
    ongoing = inspected.submit("import time\nx = 42\nwhile 'stop' not in globals(): time.sleep(0.01)")
    async with asyncio.timeout(5):
        while "x" not in (found := await previews(inspected)):
            await asyncio.sleep(0.01)
        assert found["x"] == "42"
        assert (await describe(inspected, "x")).variable.type == "int"
    await inspected.cancel(ongoing)
    await ongoing.finished.wait()
    assert inspected.snapshot(ongoing).status == "interrupted"
    assert (await inspected.execute("x")).text == "42"


async def test_looking_leaves_input_and_hooks_of_running_code_alone(inspected: Session) -> None:
    ongoing = inspected.submit(
        "import time\ncalled = []\n"
        "get_ipython().events.register('post_execute', hook := lambda: called.append(1))\n"
        "go = False\nwhile not go: time.sleep(0.01)\n"
        "print(input(), called)\nget_ipython().events.unregister('post_execute', hook)",
        inputs=["answer"],
    )
    assert inspected.kernel is not None
    async with asyncio.timeout(5):
        while "go" not in await previews(inspected):
            await asyncio.sleep(0.01)
        await inspected.kernel.evaluate("globals().update(go=True)", timeout_seconds=5, aside=True)
        await ongoing.wait()
    assert inspected.snapshot(ongoing).text == "answer []\n"


async def test_a_busy_kernel_without_subshells_says_that_it_cannot_be_asked(
    inspected: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inspected.kernel is not None
    monkeypatch.setattr(inspected.kernel, "info", {})
    ongoing = inspected.submit("import time; time.sleep(60)")
    while not inspected.executing:
        await asyncio.sleep(0.01)
    with pytest.raises(KernelExecError, match=r"is busy.*ipykernel 7"):
        await list_variables(inspected)
    await inspected.cancel(ongoing)
    await ongoing.finished.wait()


async def test_a_namespace_that_cannot_be_asked_gives_an_error_with_a_next_step(inspected: Session) -> None:
    await inspected.execute("__import__ = None")
    with pytest.raises(KernelExecError, match=r"could not be inspected.*Use execute_code"):
        await list_variables(inspected)


async def test_a_closed_session_says_so(runtime: Runtime, open_session: OpenSession) -> None:
    session = await open_session("closing")
    await runtime.sessions.close("closing")
    with pytest.raises(SessionClosed):
        await list_variables(session)
