"""Bundles that travel, by commands.

check.py      check a bundle before it is trusted
show_card.py  its model card
push.py       to the Hugging Face hub; pull.py from there and from W&B
export.py     in the forms of other libraries
upgrade.py    in today's form
"""
