"""The modality `timeseries` as a plug-in: `--import timeseries` registers its parts."""

from timeseries import encoders, modality, views

__all__ = ["encoders", "modality", "views"]
