"""`clipmax predict`: files of rows → answers, read and written in portions, so that a file may exceed memory."""

from clipmax.predict.command import COMMAND

__all__ = ["COMMAND"]
