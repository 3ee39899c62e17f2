"""The relays that relay is compared with: each copies messages between a browser and an upstream, and does no more.

A program here is what somebody writes who follows its library's documentation: one connection to the upstream for each
browser, two loops, no limits, no policy, no conversion. Each is started as `PROGRAM PORT UPSTREAM_URL`.
"""
