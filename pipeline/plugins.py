"""The workflow's own kinds of plug-ins, beside those of the library in `read.plugins`."""

from read.plugins import Plugins

TASKS = Plugins("task", "pipeline.tasks", "WORK")
PANELS = Plugins("panel", "pipeline.reporting.panels", "PANEL")
RESTITCHERS = Plugins("restitcher", "pipeline.restitch", "RESTITCHER")
