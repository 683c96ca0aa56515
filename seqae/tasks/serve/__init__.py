"""`seqae serve`: the page with a model behind it, and a JSON API that anyone may call.

serve_command.py         the command
listening.py             the port, and how the server ends
served_page.py           the page that it sends

api_shapes.py            what each call takes and returns, as types
request_check.py         holds JSON to these types and their limits
openapi.py               the calls, and the same as an OpenAPI document

guard.py                 hosts, origins, the token, rates and headers
web_app.py               the application: requests to answers, within their time
model_queue.py           one thread computes, others wait their turn
model_answers.py         what a model answers to each call
served_map.py            between latents and places
token_probabilities.py   how sure a model was of each token
"""
