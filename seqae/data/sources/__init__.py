"""Where sentences come from: files of any format, folders, pipes, hubs, corpora.

    name ─► open.open_source ─► Source.parts ─► blocks of records, each with its position and counts

| file | content |
|---|---|
| base.py, open.py | Source and its parts; from a name to a Source |
| records.py | Block, Counts, ReadOptions: what every reader gives and takes |
| file_source.py, spool.py | files as a Source; copies of pipes |
| discovery.py, walking.py | how files are found, and what is left out of a folder |
| formats/ | a reader for each format of files: plain text, JSON lines, CSV, Arrow and Parquet |
| hubs/ | data sets of the Hugging Face hub |
| nltk.py | corpora of NLTK |
| memory.py | sentences that were handed over in Python |

The builders of `datasets` and `fsspec` read these formats, too. The readers here are ours because
they do what those cannot: an error names `file:line`; a file is cut into byte ranges that several
processes read; reading continues at the position of any block, in text, rows or shards; a
decompression bomb is refused, and so is a file that was truncated or changes while it is read; and
every record is either kept or counted under the reason why it was dropped.
"""
