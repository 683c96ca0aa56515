"""Readers of files, one for each format, and what they share.

| file | content |
|---|---|
| reader.py, lines.py | what readers share; where a line ends |
| plain_text.py, jsonl.py, csv.py, arrow.py | one reader each; arrow.py also reads Parquet |
| json_list.py, json_columns.py, csv_rows.py, nested.py | elements, columns, rows: their details |
| compression.py | opens files, and unpacks them while they are read |
| content.py | tells text from what is none, by how it begins |
"""
