"""Bundles that are kept elsewhere: found by an address, fetched, checked, and sent there.

address.py           hf:owner/name@revision and wandb:entity/project/name:alias
hub_repository.py    repositories of the Hugging Face hub
wandb_artifact.py    artifacts of Weights & Biases, fetched
wandb_upload.py      and sent, or linked in a registry
"""
