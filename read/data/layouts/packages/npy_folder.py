"""A folder of arrays, one a video, as the action features of How2 (Sanabria et al. 2018)."""

from read.data.packages import Files, Form

ENCODERS = ("features",)
FORMS = (Form({"features": Files("{vid}.npy")}),)
