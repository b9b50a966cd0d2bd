"""How published features are laid out: a file each, whose `FORMS` say where the features of each encoder lie."""
