#!/usr/bin/env bash
# Standard Webhooks: two libraries read one secret as two keys.
#
# Versions: PyPI standardwebhooks 1.1.0, npm standardwebhooks 1.1.1. The secret is "whsec_<base64>" with a blank before it.
# The Python library accepts the secret for a key of 32 bytes, the usual length, and does not trim it. It does not recognise
# the prefix, skips characters outside the base64 alphabet, and decodes the rest. The result is a different key, so the
# signature differs from that of the trimmed secret. With a key of 27 bytes the library raises an error, because one character
# is left over.
# The JavaScript library throws for both lengths.
# Expected: both libraries refuse the secret, or both trim it. Today the only symptom of a pasted blank is a signature that
# does not verify.
#
# Needs python3 with venv, node, npm and the package registries. Fails if any of this changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check standardwebhooks==1.1.0
npm install --silent --ignore-scripts --no-audit --no-fund standardwebhooks@1.1.1

cat >sign.py <<'PYTHON'
import datetime, sys
from standardwebhooks import Webhook
at = datetime.datetime.fromtimestamp(1778653144, datetime.timezone.utc)
print(Webhook(sys.argv[1]).sign("msg_1", at, "{}"))
PYTHON
cat >sign.mjs <<'JAVASCRIPT'
import { Webhook } from "standardwebhooks";
try {
    console.log(new Webhook(process.argv[2]).sign("msg_1", new Date(1778653144000), "{}"));
} catch (error) {
    console.log(`refused: ${error.message}`);
}
JAVASCRIPT

plain='whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY='
python_plain=$(venv/bin/python sign.py "$plain")
python_blank=$(venv/bin/python sign.py " $plain")
node_plain=$(node sign.mjs "$plain")
node_blank=$(node sign.mjs " $plain")
printf 'python, plain: %s\npython, blank: %s\nnode, plain:   %s\nnode, blank:   %s\n' \
    "$python_plain" "$python_blank" "$node_plain" "$node_blank"

fail() {
    echo "changed: $1"
    exit 1
}
[ "$python_plain" = "$node_plain" ] || fail "the libraries no longer agree on the plain secret"
case "$python_blank" in v1,*) ;; *) fail "the Python library no longer signs with the blank secret" ;; esac
[ "$python_blank" != "$python_plain" ] || fail "the Python library now trims"
case "$node_blank" in refused:*) ;; *) fail "the JavaScript library no longer refuses" ;; esac
echo "as seen"
