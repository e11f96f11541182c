"""Packaging of keras_pamunet: its parts, dependencies and the presets of `hub/`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+)"', (HERE / "keras_pamunet/__init__.py").read_text("utf-8")
)[1]

EXTRAS = {
    "tensorflow": ["tensorflow>=2.20"],
    # The build without CUDA. There is one for Linux on x86 only.
    "tensorflow-cpu": [
        "tensorflow-cpu>=2.20; sys_platform == 'linux' and platform_machine == 'x86_64'",  # noqa: E501
        "tensorflow>=2.20; sys_platform != 'linux' or platform_machine != 'x86_64'",
    ],
    "tensorflow-cuda": ["tensorflow[and-cuda]>=2.20; sys_platform == 'linux'"],
    "jax": ["jax>=0.7"],
    "jax-cuda": ["jax[cuda13]>=0.7.2; sys_platform == 'linux'"],
    "torch": ["torch>=2.6"],
    "beam": ["apache-beam>=2.60"],
    "data": ["tensorflow-datasets>=4.9.9"],
    "dicom": ["dicom2nifti>=2.6", "highdicom>=0.26", "pydicom>=3.0"],
    # Beside TensorFlow, in one of its two forms.
    "export": ["onnx>=1.17", "onnxruntime>=1.20", "tf2onnx>=1.16"],
    # LiteRT, the runtime. Export to it needs TensorFlow beside.
    "litert": ["ai-edge-litert>=2.0"],
    # KerasTuner imports six without saying so.
    "tune": ["keras-tuner[bayesian]>=1.4.8", "six"],
}
EXTRAS["dev"] = [
    *EXTRAS["tensorflow-cpu"],
    *EXTRAS["jax"],
    *EXTRAS["beam"],
    *EXTRAS["data"],
    *EXTRAS["dicom"],
    *EXTRAS["export"],
    *EXTRAS["litert"],
    *EXTRAS["tune"],
    "build>=1.2",
    "dill>=0.4",
    "hypothesis>=6.100",
    "import-linter>=2.1",
    "mypy>=2.4",
    "playwright>=1.50",
    "pytest>=8.3",
    "pytest-xdist>=3.6",
    "ruff>=0.12",
    "setuptools>=77",
]

setup(
    name="keras-pamunet",
    version=VERSION,
    description="PAM-UNet: light medical image segmentation with Keras 3",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=[
        "attention",
        "colonoscopy",
        "computed tomography",
        "Keras",
        "medical imaging",
        "PAM-UNet",
        "segmentation",
        "U-Net",
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
        "Typing :: Typed",
    ],
    project_urls={"Paper": "https://arxiv.org/abs/2405.01503"},
    python_requires=">=3.11",
    packages=[*find_packages(include=["keras_pamunet*"]), "keras_pamunet.presets"],
    package_dir={"keras_pamunet.presets": "hub"},
    package_data={
        # The page, if it was built (make page).
        "keras_pamunet": ["py.typed", "page_assets/**"],
        "keras_pamunet.presets": ["*/*"],
        "keras_pamunet.data.kvasir_seg": ["*.json", "splits/*.json"],
    },
    entry_points={"console_scripts": ["keras-pamunet = keras_pamunet.cli:run"]},
    install_requires=[
        "absl-py>=2.1",
        "filelock>=3.16",
        "grain>=0.2.12",
        "h5py>=3.12",
        "imagecodecs>=2024.12.30",
        "keras>=3.15",
        "matplotlib>=3.9",
        "nibabel>=5.3",
        "numpy>=2.0",
        "opencv-python-headless>=4.10",
        "pillow>=11.0",
        "rich>=13.7",
        "scipy>=1.15",
        "tensorboard>=2.19",
        "tifffile>=2024.12.12",
        "typer>=0.19",
    ],
    extras_require=EXTRAS,
)
