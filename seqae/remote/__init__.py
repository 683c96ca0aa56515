"""Files that are elsewhere: `s3://`, `gs://` and other stores that fsspec knows, `https://`.

| file | content |
|---|---|
| url.py | which addresses are taken, and what is refused in one |
| store.py | open the store of an address; ask again what failed; say in one line what went wrong |
| byte_stream.py | a file of a store as a stream of byte ranges |
| transfer.py | files fetched and sent whole |
| output.py | the result of a command, sent when it is complete |
| run_pointer.py | the file that says what of a run elsewhere is complete |

Credentials come from the store's own library and its environment alone. No address may hold any, so
none can get into a configuration, a report or a bundle.
"""
