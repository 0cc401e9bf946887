"""Training of shared parameters: one loop, a step for each kind of model, resumable checkpoints."""

from trompe.training.batches import Batches
from trompe.training.checkpoint import load, load_tensors, replace, save, save_tensors
from trompe.training.gan import GANStep
from trompe.training.inference import MCEMStep, WakeSleepStep
from trompe.training.loop import train
from trompe.training.margin import MarginStep
from trompe.training.monitor import History, reporting
from trompe.training.steps import AutoencoderStep, ClassifierStep, ModelStep, constant, one_cycle
from trompe.training.svae import DiscriminatorStep, SupervisedStep
from trompe.training.vaegan import VAEGANStep
from trompe.training.warp import recoloured, warped

__all__ = [
    "AutoencoderStep",
    "Batches",
    "ClassifierStep",
    "DiscriminatorStep",
    "GANStep",
    "History",
    "MCEMStep",
    "MarginStep",
    "ModelStep",
    "SupervisedStep",
    "VAEGANStep",
    "WakeSleepStep",
    "constant",
    "load",
    "load_tensors",
    "one_cycle",
    "recoloured",
    "replace",
    "reporting",
    "save",
    "save_tensors",
    "train",
    "warped",
]
