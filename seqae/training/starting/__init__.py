"""What a training starts from, instead of weights and a tokenizer of its own.

bundle_settings.py    `--init BUNDLE` as options: the bundle's parts, tokenizer and sizes
warm_start.py         the bundle's weights, checked against the model that is to have them
given_tokenizer.py    a tokenizer or vocabulary that a file has
embedding_start.py    word vectors for the embedding; vector_files.py reads them
first_validation.py   a validation before the first step
"""
