"""Writes the page that segments in a browser: a static site with its models inside."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from keras_pamunet import choices, hub
from keras_pamunet.data.windows import takes_hu
from keras_pamunet.files import make_folder, sha256_of, write_json
from keras_pamunet.inference.onnx_model import OnnxModel

# What `make page` builds of `web/`; in a wheel it is there.
ASSETS = Path(__file__).parent / "page_assets"
MODELS, SITE, SERVICE_WORKER = "models", "site.json", "sw.js"
# What a browser fetches when it is used, and not before.
ON_DEMAND = "assets/gpu/"


def write_page(
    output: str | Path,
    models: Sequence[str | Path] = (choices.PHOTOGRAPHS, choices.VOLUMES),
    *,
    overwrite: bool = False,
    progress: bool = True,
    assets: str | Path = ASSETS,
) -> Path:
    """Writes a folder that any web server can offer, whole or not at all.

    Args:
        output: the folder.
        models: presets, run folders and `.keras` files, which are exported, and
            `.onnx` files that `keras_pamunet.exporting.export` wrote. The first for
            photographs and the first for volumes are the page's own choice.
        overwrite: whether to write anew a site that is there.
        progress: whether to show progress bars.
        assets: the page as `make page` built it.

    Returns:
        The folder.

    Raises:
        FileExistsError: if the folder is there.
        FileNotFoundError: if the page was not built, or there is no such model.
        ModuleNotFoundError: if what export needs is not installed.
        OSError: if the folder cannot be written.
        ValueError: for a model that cannot be exported or read, or two of one name.
    """
    output, assets = Path(output), Path(assets)
    _check(output, models, overwrite, assets)
    make_folder(output.parent)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=output.parent) as folder:
        new = Path(folder, "site")
        shutil.copytree(assets, new)
        (new / MODELS).mkdir()
        entries = [_add(model, new, progress) for model in models]
        files = _files(new)
        facts = "".join(f"{name} {sha256_of(new / name)}\n" for name in files)
        version = hashlib.sha256(facts.encode()).hexdigest()[:16]
        write_json(new / SITE, {"version": version, "files": files, "models": entries})
        if output.exists():
            os.replace(output, Path(folder, "old"))
        os.replace(new, output)
    return output


def _check(output, models, overwrite, assets):
    if not (assets / SERVICE_WORKER).is_file():
        raise FileNotFoundError(
            f"Expected the built page in {assets}. Not there: a checkout builds it "
            "with Node.js 20 or newer: make page"
        )
    if output.exists() and not (overwrite and is_site(output)):
        hint = (
            "Name another, or write it anew (--overwrite)"
            if is_site(output)
            else "It holds something else. Name another"
        )
        raise FileExistsError(
            f"Expected a new folder. Received: {output}, which exists. {hint}."
        )
    names = [_name(model) for model in models]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(
            "Expected models of different names. Received twice: "
            f"{', '.join(sorted(twice))}"
        )


def is_site(folder: Path) -> bool:
    """Whether `write_page` wrote this folder."""
    return (folder / SITE).is_file() and (folder / SERVICE_WORKER).is_file()


def _name(model):
    return Path(model).stem if Path(model).suffix else Path(model).name


def _add(model, site, progress):
    """Puts a model into the site; returns what the page is told of it."""
    name = _name(model)
    target = site / MODELS / f"{name}.onnx"
    if Path(model).suffix == ".onnx":
        OnnxModel(model)
        shutil.copyfile(model, target)
    else:
        # Imported here: it brings Keras.
        from keras_pamunet.exporting import export

        export(model, target, progress=progress)
    network = OnnxModel(target)
    preset = hub.presets().get(str(model), {})
    return {
        "name": name,
        "task": preset.get("task") or ", ".join(network.class_names),
        "file": target.relative_to(site).as_posix(),
        "kind": "volume" if takes_hu(network.input_range) else "photograph",
        # As `predict` does with the model it takes by itself.
        "largest": str(model) == choices.VOLUMES,
    }


def _files(site):
    """What a browser keeps to work offline, without what tells it of a new version."""
    names = [
        path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()
    ]
    others = (SITE, SERVICE_WORKER, ON_DEMAND)
    return sorted(name for name in names if not name.startswith(others))
