"""Shapes of what must not be published: keys of services, marks of people, paths of machines."""

import re

KEYS = {
    "a Hugging Face token": r"(?<![A-Za-z0-9])(?:hf|api_org)_[A-Za-z0-9]{16,}",
    "an Anthropic key": r"(?<![A-Za-z0-9])sk-ant-[\w-]{10,}",
    "an OpenAI key": r"(?<![A-Za-z0-9])sk-(?!ant-)(?:proj-|svcacct-|admin-|or-v1-)?[A-Za-z0-9_-]{20,}",
    "an Apify token": r"(?<![A-Za-z0-9])apify_api_[A-Za-z0-9]{10,}",
    "a RunPod key": r"(?<![A-Za-z0-9])rpa_[A-Za-z0-9]{10,}",
    "a GitHub token": r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})",
    "a GitLab token": r"(?<![A-Za-z0-9])gl(?:pat|ptt|dt|rt|cbt|soat)-[\w-]{20,}",
    "an AWS key": r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b"
    r"|(?i:aws\w*|secret_?access)[\w\s\"':=.-]{0,40}(?<![A-Za-z0-9/+=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])",
    "a Google key": r"(?<![A-Za-z0-9])(?:AIza[\w-]{35}|GOCSPX-[\w-]{20,}|ya29\.[\w-]{20,})",
    "a Slack token": r"(?<![A-Za-z0-9])(?:xox[a-z]-[\w.-]{10,}|xapp-[\w-]{10,})"
    r"|\bhooks\.slack\.com/services/[\w/]{20,}",
    "a Stripe key": r"(?<![A-Za-z0-9])"
    r"(?:(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/]{16,})",
    "a key of a model provider": r"(?<![A-Za-z0-9])(?:gsk|r8|pplx|xai|nvapi|fw|csk|tgp_v1)[_-][\w-]{30,}",
    "a package registry's token": r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{30,}|\bpypi-[\w-]{40,}",
    "a key of a service": r"(?<![A-Za-z0-9])"
    r"(?:SG\.[\w-]{16,}\.[\w-]{16,}|dop_v1_[0-9a-f]{32,}|\d{8,10}:AA[\w-]{33}"
    r"|AAAA[A-Za-z0-9%]{60,}|AccountKey=[\w+/=]{40,})",
    "a signed token (JWT)": r"(?<![A-Za-z0-9])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*",
    # W&B keys are 40 hex digits, as commits are: only the name beside them tells.
    "a Weights & Biases key": r"(?<![A-Za-z0-9])wandb_v1_\w{20,}"
    r"|(?i:wandb[\w\s\"':=-]{0,40}\b[0-9a-f]{40}\b)",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "a password in an address": r"(?<![A-Za-z0-9])"
    r"[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'<>]{1,80}:[^\s/@\"'<>]{3,200}@",
    "a value named as a secret": r"(?i:"
    r"(?:api|access|auth|secret|private)[_ -]?(?:key|token)|_token|_secret|_key|password|passwd)"
    r"[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?=[\w/+-]*\d)(?=[\w/+-]*[A-Za-z])[\w/+-]{20,}",
}
PEOPLE = {
    "an e-mail address": r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}\.[A-Za-z]{2,}",
    "an @handle": r"(?<![\w@./+-])@[A-Za-z0-9_]{1,15}\b",
    "a link to a post or profile": r"(?i:"
    r"(?<![\w.-])(?:(?:www\.|mobile\.|m\.)?(?:x|twitter)\.com|t\.co|nitter\.\w+)/\w+)",
    "an id of a post": r"(?i:"
    r"(?<![A-Za-z])(?:status|tweet|post|reply|conversation)\w*\W{1,8}(?:id\W{1,3})?)\d{15,19}\b",
    "a path in somebody's home": r"(?<![\w.])/(?:(?:Users|home)/[^/\s\"']+|root/)"
    r"|\b[A-Za-z]:(?:\\{1,2}|/)Users(?:\\{1,2}|/)"
    r"|(?<![\w~/])~\w*/[\w.]",
    "a path of this kind of machine": r"(?<![\w.])/"
    r"(?:workspace|tmp|private|var/\w+|mnt|Volumes|content|srv|data|opt|media|scratch"
    r"|nfs|dev/shm|kaggle|models?|checkpoints|datasets|storage|net|gpfs|lustre|runpod-volume|teamspace"
    r"|notebooks)/[\w.-]"
    r"|(?<![\w./])\.{1,2}/\w|(?<![\w?])[A-Z]:(?:\\{1,2}|/)[\w.]|\bfile:/+[\w.~]",
}
SHARE = re.compile(
    r"(?<![\\\w])\\\\[\w.-]{2,}\\[\w$.-]{2,}"
)  # in no JSON as it is written: there every backslash is two
# ASCII: in "谢@ann的" the handle ends where the Latin letters do.
KEY_PATTERNS = {kind: re.compile(pattern, re.ASCII) for kind, pattern in KEYS.items()}
PEOPLE_PATTERNS = {kind: re.compile(pattern, re.ASCII) for kind, pattern in PEOPLE.items()}
