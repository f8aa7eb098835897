"""`mianjiao witness`: cosign checkpoints of logs, so that nobody has to trust their operators."""

from pathlib import Path

from kernel.canonical import canonical_bytes
from runtime.listening import listen, shown, take_address


def make_keys(name: str, folder: Path) -> int:
    """Make the two keys of a witness, and print its lines for trust policies.

    Files `NAME.ed25519.key` and `NAME.mldsa44.key`, slashes in the name as dashes. Where the
    settings name a PKCS#11 token, the Ed25519 key is made in it.
    """
    from ledger.errors import OriginInvalid
    from ledger.keys import create_typed_key_file
    from ledger.notes import SignatureType, is_key_name
    from runtime.settings import read_settings
    from runtime.signing_keys import tokens_of

    if not is_key_name(name) or len(name.encode()) > 255 or name.strip("/") != name:
        raise OriginInvalid(reason="1 to 255 bytes, no spaces, no plus sign, no outer slashes")
    tokens = tokens_of(read_settings())
    folder.mkdir(parents=True, exist_ok=True)
    short = name.replace("/", "-")
    kinds = {
        "ed25519": SignatureType.COSIGNATURE_ED25519,
        "mldsa44": SignatureType.COSIGNATURE_MLDSA44,
    }
    for suffix, kind in kinds.items():
        key = create_typed_key_file(folder / f"{short}.{suffix}.key", name, kind, tokens).key
        print(f"witness {short}.{suffix} {key.text} https://{name}")
    # One group: with two lines outside of it, one witness would count twice.
    print(f"group {short} any {' '.join(f'{short}.{suffix}' for suffix in kinds)}")
    return 0


def serve_witness(config: Path, *, announce_json: bool = False) -> int:
    """Serve until SIGTERM or SIGINT. With `announce_json` the first line is `{"url": …}`."""
    import uvicorn
    from fastapi import FastAPI

    from kernel.clock import SystemClock
    from ledger.witness.http import routes
    from ledger.witness.records import WitnessRecords
    from ledger.witness.service import Witness
    from runtime.logs import configure
    from runtime.protocol import bounded_protocol
    from runtime.settings import read_settings
    from runtime.signing_keys import tokens_of
    from runtime.telemetry import NO_TELEMETRY
    from runtime.witness_config import read_witness_config

    settings = read_witness_config(config, tokens_of(read_settings()))
    configure("WARNING")
    for cosigner in settings.cosigners:
        cosigner.prepare()
    with take_address(settings.host, settings.port) as listener:
        records = WitnessRecords(settings.state, [one.key for one in settings.cosigners])
        try:
            for origin in settings.logs:
                records.get(origin)  # a damaged record stops the start, by name
            witness = Witness(logs=settings.logs, cosigners=settings.cosigners, records=records)
            app = FastAPI(
                docs_url=None,
                redoc_url=None,
                openapi_url=None,
                redirect_slashes=False,
                telemetry=NO_TELEMETRY,
            )
            app.include_router(routes(witness, SystemClock()))
            listen(listener)
            url = f"http://{shown(settings.host, listener.getsockname()[1])}"
            if announce_json:
                print(canonical_bytes({"url": url}).decode(), flush=True)
            else:
                print(f"免交见证 Mianjiao witness · {url}")
                for key in witness.keys:
                    print(f"  {key.text}", flush=True)
            served = uvicorn.Config(
                app,
                log_config=None,  # ours is in force
                access_log=False,
                server_header=False,
                timeout_keep_alive=60,
                timeout_graceful_shutdown=5,
                http=bounded_protocol(15.0),
                ws="none",
            )
            uvicorn.Server(served).run(sockets=[listener])
        finally:
            records.close()
    return 0
