#!/bin/sh
# Cargo's RUSTC_WORKSPACE_WRAPPER for the control of this folder: deskload alone, compiled so that its intents leave no
# mark (`MARK` in src/journal/transitions.rs). The libraries are those of the ordinary build.
exec "$@" --cfg 'deskload_control="no-intents"'
