"""Tasks: what a trained model, or data before training, is used for; one function per command.

runner.py         turns a function into a command: signature to options, docstring to help
encode_decode.py  reconstruct, encode, decode; latent_files/ reads and writes latents
latent_space.py   interpolate, arithmetic, neighbours, transfer
sampling.py       sample, and prior, which fits what it draws from
evaluate/         evaluate
charts.py         line charts, as .svg files
compare.py        compare; run_files.py reads the runs
data_report.py    data report
plot/             plot
summarize/        summarize, summarize-eval
sharing/          check, card, push, pull, export, upgrade
"""
