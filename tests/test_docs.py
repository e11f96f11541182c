"""What the documents say to type can be typed."""

import ast
import importlib
import inspect
import pkgutil
import re
import shlex
from pathlib import Path

import pytest
import typer

import keras_pamunet
from keras_pamunet.cli import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("hub/**/*.md")]
FENCED = re.compile(r"^```(?:python|sh|bash|console)?\n(.*?)^```", re.M | re.S)
INDENTED = re.compile(r"(?:^ {4}.*\n(?:[ \t]*\n)*)+", re.M)
ids = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


def blocks(text):
    fenced = FENCED.findall(text)
    rest = FENCED.sub("", text)
    return fenced + [inspect.cleandoc("\n" + x) for x in INDENTED.findall(rest)]


def programs(text):
    """The blocks that are Python and use the package."""
    for block in blocks(text):
        try:
            tree = ast.parse(block)
        except SyntaxError:
            continue
        if "keras_pamunet" in block or "import" in block:
            yield tree


def commands(text):
    for block in blocks(text):
        for line in block.replace("\\\n", " ").splitlines():
            _, found, arguments = line.partition("keras-pamunet ")
            before = line.partition("keras-pamunet ")[0]
            if found and not re.search(r"[^\s\w=./$-]", before):
                yield shlex.split(arguments, comments=True)


def resolve(module, name):
    """What `from module import name` gives."""
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        return importlib.import_module(f"{module}.{name}")


def check(tree):
    """Makes sure that names of the package exist, and take what they are given."""
    names = {"keras_pamunet": keras_pamunet}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("keras_pamunet"):
            for alias in node.names:
                found = resolve(node.module, alias.name)
                names[alias.asname or alias.name] = found
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("keras_pamunet"):
                    importlib.import_module(alias.name)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        head, *rest = ast.unparse(node.func).split(".")
        if head not in names:
            continue
        function = names[head]
        for name in rest:
            function = getattr(function, name)
        given = {x.arg: None for x in node.keywords if x.arg}
        if not any(isinstance(x, ast.Starred) for x in node.args):
            inspect.signature(function).bind_partial(*node.args, **given)


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_python(path):
    for tree in programs(path.read_text("utf-8")):
        check(tree)


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_commands(path):
    group = typer.main.get_command(app)
    for name, *arguments in commands(path.read_text("utf-8")):
        if name not in group.commands:
            assert name in ("--version", "--help"), name
            continue
        command = group.commands[name]
        while hasattr(command, "commands"):  # As `figure` has.
            name, *arguments = arguments
            command = command.commands[name]
        command.make_context(name, arguments)


MODULES = [
    module.name
    for module in pkgutil.walk_packages(keras_pamunet.__path__, "keras_pamunet.")
    if not module.name.startswith("keras_pamunet.presets")
]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    """Every example in them."""
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(str(error))
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    for node in ast.walk(tree):
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef
        text = ast.get_docstring(node) if isinstance(node, kinds) else None
        lines = re.findall(r"^>>> (.*)|^\.\.\. ?(.*)", text or "", re.M)
        code = "\n".join(first or more for first, more in lines)
        if node in tree.body and lines:
            code = f"from {name} import {node.name}\n{code}"
        check(ast.parse(code))


def test_the_checks_find_something():
    text = "    keras-pamunet train --nosuch 3\n"
    ((name, *arguments),) = commands(text)
    with pytest.raises(Exception, match="--nosuch"):
        typer.main.get_command(app).commands[name].make_context(name, arguments)
    with pytest.raises(ModuleNotFoundError):
        check(ast.parse("from keras_pamunet import nosuch"))
    with pytest.raises(TypeError, match="nosuch"):
        check(ast.parse("from keras_pamunet.data import Folder\nFolder(nosuch=1)"))
