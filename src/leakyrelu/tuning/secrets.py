"""What a storage is called in messages: never by its password."""

import re
from urllib.parse import unquote

__all__ = ["refuse_misspelt", "shown_storage", "without_passwords", "without_secrets"]

_HIDDEN = "***"
_SCHEMES = (
    "cockroachdb",
    "mariadb",
    "mssql",
    "mysql",
    "oracle",
    "postgres",
    "postgresql",
    "redis",
    "rediss",
    "sqlite",
    "unix",
)
_URL = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]+):(?P<slashes>/*)(?P<rest>.*)", re.DOTALL)

_IN_TEXT = re.compile(rf"(?:[A-Za-z][\w+.-]+:/|(?:{'|'.join(_SCHEMES)})(?:\+\w+)?:)\S*[@?]\S*")


def shown_storage(storage: object) -> str:
    """A storage as it is named in messages: the path of a file as it is, a URL without user, password and options."""
    if not isinstance(storage, str):
        return f"the {type(storage).__name__}"
    url = _URL.fullmatch(storage)
    if url is None:
        return storage
    rest = url["rest"]
    if "@" in rest:  # a password may hold an @ or a slash that should have been escaped
        rest = f"{_HIDDEN}@{rest.rpartition('@')[2]}"
    address, question, _ = rest.partition("?")
    return f"{url['scheme']}:{url['slashes']}{address}{'?' + _HIDDEN if question else ''}"


def without_passwords(text: str) -> str:
    """A text that may quote a word of the command line: a URL in it is shown as `shown_storage` names it."""
    return _IN_TEXT.sub(lambda url: shown_storage(url[0]), text)


def without_secrets(text: str, storage: object) -> str:
    """A message of a driver or a parser, without the parts of the storage's URL that may be a password."""
    for secret in sorted(_secrets(storage), key=len, reverse=True):
        pattern = re.escape(secret) if len(secret) > 3 else rf"(?<!\w){re.escape(secret)}(?!\w)"
        text = re.sub(pattern, _HIDDEN, text)
    return text


def _secrets(storage: object) -> set[str]:
    url = _URL.fullmatch(storage) if isinstance(storage, str) else None
    if url is None:
        return set()
    before, at, after = url["rest"].rpartition("@")
    user, colon, password = before.partition(":")
    whole = (password if colon else user) if at else ""
    options = (each.partition("=")[2] for each in after.partition("?")[2].split("&"))
    found = {whole, *re.split(r"[:/@?#\[\]]", whole), *options}
    return {each for secret in found for each in (secret, unquote(secret)) if each}


def refuse_misspelt(storage: str) -> None:
    """Raise a `ValueError` for a URL that would be taken for the path of a file, because its slashes are missing."""
    url = _URL.fullmatch(storage)
    if url is not None and len(url["slashes"]) < 2 and url["scheme"].partition("+")[0].lower() in _SCHEMES:
        raise ValueError(
            f"the storage {shown_storage(storage)} lacks the two slashes of a URL: "
            f"write {url['scheme']}://USER@HOST:PORT/NAME"
        )
