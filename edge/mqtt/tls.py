"""TLS to a broker: the context, and what goes wrong with it in a user's words."""

from __future__ import annotations

import ssl

from edge.errors import ConfigError
from edge.mqtt.messages import MqttOptions
from edge.remote.tls import trusting

# X509_V_ERR_* of OpenSSL's x509_vfy.h.
NOT_YET_VALID, EXPIRED, HOST_NAME, IP_ADDRESS = 9, 10, 62, 64


def tls_context(options: MqttOptions) -> ssl.SSLContext | None:
    """The system's store or `ca`, and a client certificate; None without TLS. Raises ConfigError."""
    if not options.url.tls:
        return None
    try:
        context = trusting(str(options.ca or ""))
        if options.cert is not None:
            context.load_cert_chain(str(options.cert), str(options.key) if options.key else None)
    except (OSError, ssl.SSLError) as exc:
        named = options.ca if options.cert is None else options.cert
        raise ConfigError(f"{named}: cannot be used as a certificate: {exc}") from exc
    return context


def untrusted(options: MqttOptions, exc: ssl.SSLCertVerificationError) -> str:
    """Why the broker's certificate is not taken, and the way out."""
    url = options.url
    if exc.verify_code == EXPIRED:
        return f"{url}: the broker's certificate has expired; renew it there, or set this device's clock"
    if exc.verify_code == NOT_YET_VALID:
        return f"{url}: the broker's certificate is not valid yet; set this device's clock"
    if exc.verify_code in (HOST_NAME, IP_ADDRESS):
        return f"{url}: the broker's certificate is for another host ({_detail(exc)}); use the name it is made for"
    ca = f"{options.ca} is not" if options.ca else "this system does not know"
    return f"{url}: {ca} the CA of the broker's certificate ({_detail(exc)}); name it with --mqtt-ca FILE"


def _detail(exc: ssl.SSLCertVerificationError) -> str:
    return exc.verify_message.rstrip(".").lower() if exc.verify_message else str(exc)


def failed(options: MqttOptions, text: str) -> str | None:
    """What an error of the TLS layer says, by its text; None for another error.

    A broker refuses a client certificate, or its lack, only after the handshake of TLS 1.3: that comes as an error of
    reading.
    """
    url = options.url
    said = text.upper().replace(" ", "_")
    if "CERTIFICATE_REQUIRED" in said or ("HANDSHAKE_FAILURE" in said and options.cert is None):
        return f"{url}: the broker wants a client certificate; name one with --mqtt-cert FILE --mqtt-key FILE"
    if "ALERT" in said and ("CERTIFICATE" in said or "UNKNOWN_CA" in said or "HANDSHAKE_FAILURE" in said):
        return f"{url}: the broker refuses the client certificate {options.cert}; is it valid, and of the broker's CA?"
    if "WRONG_VERSION_NUMBER" in said or "RECORD_LAYER_FAILURE" in said or "HTTP_REQUEST" in said:
        return f"{url}: no TLS is spoken there; say {_plain(url.scheme)}:// or name the broker's TLS port"
    if "SSL" in said:
        return f"{url}: TLS fails: {text}; is this the broker's TLS port?"
    return None


def no_tls(options: MqttOptions) -> str:
    """The other side ended the connection in the handshake, without a word."""
    url = options.url
    way_out = f"say {_plain(url.scheme)}:// or name the broker's TLS port"
    return f"{url}: it hangs up on TLS, so none may be spoken there; {way_out}"


def hung_up(options: MqttOptions) -> str:
    """The other side ended the connection behind the handshake, before it answered CONNECT.

    The alert that would say why is lost where our CONNECT was under way.
    """
    url = options.url
    if options.cert is None:
        way_out = "it may want a client certificate: name one with --mqtt-cert FILE --mqtt-key FILE"
    else:
        way_out = f"it may refuse the client certificate {options.cert}: is it valid, and of the broker's CA?"
    return f"{url}: the broker hangs up behind the TLS handshake; {way_out}"


ALERT = b"\x15"
"""The first byte of what a TLS server answers to a client that speaks none; no MQTT server begins with it."""


def spoken(options: MqttOptions) -> str:
    """The other side speaks TLS, and we do not."""
    url = options.url
    return f"{url}: TLS is spoken there; say {url.scheme}s:// or name the broker's port without TLS"


def silent(options: MqttOptions) -> str:
    """The other side ended a connection without TLS before it answered CONNECT. OpenSSL does."""
    url = options.url
    return f"{url}: it hangs up on CONNECT without a word; if TLS is spoken there, say {url.scheme}s://"


def _plain(scheme: str) -> str:
    return scheme.removesuffix("s")
