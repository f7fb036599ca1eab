"""The recipes that ship, one YAML file each; `base:` names the one recipe that a file varies."""
