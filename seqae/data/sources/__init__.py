"""Where sentences come from: files of any format, folders, pipes, hubs, corpora.

    name ─► source.open_source ─► parts ─► blocks of records, each with its place and its counts

| file | what is in it |
|---|---|
| source.py | from a name to a Source, and a Source's parts |
| records.py | Block, Counts, ReadOptions: what every reader gives and takes |
| files.py, opening.py | finding files; opening them and unpacking them on the way |
| reader.py, lines.py | what readers share; where a line ends |
| text.py, json_lines.py, delimited.py, arrow.py | one reader each |
| hub.py, nltk_corpora.py | data sets of the Hugging Face hub; corpora of NLTK |
"""
