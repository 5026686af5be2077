"""Ways to start a kernel so that its code cannot hurt the machine; each is a provisioner of Jupyter's."""
