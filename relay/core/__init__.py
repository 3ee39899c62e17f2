"""The rules of a conversation, sans-IO: values in, decisions out.

Nothing in this package imports Trio, Quart, a socket, a clock or a logger; time comes in as an argument.
A test imports it in a fresh interpreter and reads `sys.modules`.
"""
