"""Parse the fields of struct tcp_info that show whether a connection lives; pure, bytes in.

Source: linux/tcp.h. The kernel appends fields over time; fields that an old kernel lacks read as zeros.
"""

from __future__ import annotations

import struct

from msgspec import Struct

_UNKNOWN_RTT = 0xFFFFFFFF
_SIZE = 216  # up to and including bytes_retrans
_BYTES = struct.Struct("=8B")
_WORDS = struct.Struct("=24I")


class TcpInfo(Struct, frozen=True):
    """The state of a TCP connection. Units are in the names; `min_rtt_us` is None before the first round trip.

    `bytes_acked` includes the SYN, so it may exceed `bytes_sent` by one. `bytes_sent` includes
    retransmitted bytes, which `bytes_retrans` counts.
    """

    rtt_us: int
    rttvar_us: int
    min_rtt_us: int | None
    rto_us: int
    unacked: int
    retransmits: int
    backoff: int
    last_data_sent_ms: int
    last_data_recv_ms: int
    last_ack_recv_ms: int
    bytes_acked: int
    bytes_received: int
    bytes_sent: int
    bytes_retrans: int


def parse_tcp_info(data: bytes) -> TcpInfo:
    """Return the fields of the attribute INET_DIAG_INFO."""
    data = data.ljust(_SIZE, b"\0")
    _, _, retransmits, _, backoff, *_ = _BYTES.unpack_from(data)
    words = _WORDS.unpack_from(data, 8)
    acked, received = struct.unpack_from("=QQ", data, 120)
    (min_rtt,) = struct.unpack_from("=I", data, 148)
    sent, again = struct.unpack_from("=QQ", data, 200)
    return TcpInfo(
        rtt_us=words[15],
        rttvar_us=words[16],
        min_rtt_us=None if min_rtt in {0, _UNKNOWN_RTT} else min_rtt,
        rto_us=words[0],
        unacked=words[4],
        retransmits=retransmits,
        backoff=backoff,
        last_data_sent_ms=words[9],
        last_data_recv_ms=words[11],
        last_ack_recv_ms=words[12],
        bytes_acked=acked,
        bytes_received=received,
        bytes_sent=sent,
        bytes_retrans=again,
    )
