"""`seqae serve`: the page with a model behind it, and a JSON API that anyone may call.

api_shapes.py       what each call takes and returns, as types
request_check.py    holds JSON to these types and their limits
openapi.py          the calls, and the same as an OpenAPI document
"""
