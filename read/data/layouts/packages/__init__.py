"""How published features are laid out: a file each, whose `FORMS` say where the features of each encoder lie.

`ENCODERS`, a plain literal, are their names in the order in which models take them; empty where the card names them.
"""
