"""How the settings say that signing keys in PKCS#11 tokens are reached."""

from ledger.pkcs11.signers import Tokens
from runtime.settings import Settings, data_path


def tokens_of(settings: Settings) -> Tokens | None:
    """None where the settings name no module. Opens nothing."""
    if settings.pkcs11_module is None or settings.pkcs11_pin is None:
        return None
    pin = settings.pkcs11_pin.get_secret_value()
    return Tokens(data_path(settings.pkcs11_module), pin, settings.pkcs11_token)
