"""llama-server where only the package xllamacpp is here: the same library, the same flags, the same address.

python -m lib.export.llama_server -m base.gguf --lora adapter.gguf --lora-init-without-apply --port 8080
"""

import argparse
import json
import os
import threading


def main() -> None:
    """Serve a GGUF model and its LoRA until the process is ended."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("-m", "--model", required=True)
    arguments.add_argument("--lora", required=True)
    arguments.add_argument("--lora-init-without-apply", action="store_true")
    arguments.add_argument("--jinja", action="store_true")
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=8080)
    arguments.add_argument("--ctx-size", type=int, default=4096)
    arguments.add_argument("--alias", default="reply")
    arguments.add_argument("--cors-origins", default="localhost")
    arguments.add_argument("--chat-template-kwargs", type=json.loads, default={})
    arguments.add_argument("--threads", type=int, default=os.environ.get("LLAMA_ARG_THREADS"))
    args = arguments.parse_args()
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = args.model
    params.model_alias = [args.alias]
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(args.lora, 1.0)]
    params.lora_init_without_apply = args.lora_init_without_apply
    params.use_jinja = args.jinja
    options = args.chat_template_kwargs.items()
    params.default_template_kwargs = {name: json.dumps(value) for name, value in options}
    params.hostnames = [args.host]
    params.port = args.port
    params.cors_origins = args.cors_origins
    params.n_ctx = args.ctx_size
    if args.threads:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = args.threads
    params.n_parallel = 1  # slots at the same time would each need the memory of a whole context
    params.warmup = False
    server = xllamacpp.Server(params)
    print(f"listening on {server.listening_address}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
