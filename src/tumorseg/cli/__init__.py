"""The command line: parse, call, show. No image or model code lives here."""
