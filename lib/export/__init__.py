"""A trained adapter for the engines that people run at home, and those engines started with it.

GGUF for llama.cpp and Ollama, MLX, merged weights; the proof that a served adapter does something.
May use base, data and model, and the records of train and evaluate.
"""
