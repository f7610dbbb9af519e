"""Every time constant of the policy in one place, in seconds, each with its reason."""

from __future__ import annotations

# How silence is judged. The factors are round trips of the judged connection.
SILENT_RTTS_SOURCE_DIFFERS = 2
SILENT_FLOOR_SOURCE_DIFFERS_S = 0.150  # below this a busy server's scheduling looks like silence
SILENT_RTTS = 4
SILENT_FLOOR_S = 0.500  # one retransmission at Linux' minimum RTO (200 ms) fits in
RETRANSMISSION_NEAR_S = 3.0  # a later one is not worth the user's wait
RETRANSMISSION_RTTS = 2  # its answer needs one; one more for jitter
RTT_UNKNOWN_S = 0.200  # where no TCP tells: a slow but common path
RTT_BOUNDS_S = (0.001, 3.0)

# Acknowledgements of what was sent after a change postpone the verdict as long as they keep coming: the answer waits
# behind the user's own traffic. How long the kernel may show no more of them: round trips of now, queues included.
FLOWING_RTTS = 2
# A box on the way, or a jump host, may acknowledge for a server that is gone. An answer is due so long after the
# data that was queued before the question has drained.
ACKED_UNANSWERED_S = 60.0
# A line whose queue holds seconds waits that long by itself, without any trouble.
RETRANSMISSION_NEAR_RTTS = 3
RTT_OF_NOW_MAX_S = 5.0

# The kernel moves a connection to another address (MPTCP): it joins within a few round trips, or sends its SYN again.
ADRIFT_S = 3.0
ADRIFT_LOOK_S = 0.1

# An address may flicker (DHCP renewal, a supplicant's restart): gone for good only after this.
ADDRESS_GONE_S = 0.250

# An IPv6 address is tentative for a second after a random delay of at most one (RFC 4862, 5.4): the kernel sends
# nothing from it meanwhile, and what it carried goes on after that. One that stays so was refused by its network.
TENTATIVE_S = 3.0

# An answer to an older question may be read this long after it came, and so after the change that it seems to survive.
CROSSED_S = 0.100

# After a wake the network is not what the snapshot says for a while.
WOKEN_S = 30.0
END_AFTER_WAKE_S = 60.0  # no master is ended by the offline timer sooner after a wake

# A look of the user (status, menu, attach) asks again only for proofs older than this.
LOOK_AGAIN_S = 30.0

# World down: the server or the way to it is away.
RETRY_FIRST_S = 1.0
RETRY_MAX_S = 300.0
REARM_EVERY_S = 30.0
REARM_PER_HOUR = 6
HOUR_S = 3600.0

# Dropped or throttled: MaxStartups and PerSourcePenalties (OpenSSH 9.8) punish haste for everyone behind the NAT.
DROPPED_FIRST_S = 20.0
DROPPED_MAX_S = 600.0
BOOTING_S = 20.0

# A server that rebooted is found within this time, however long its back-off is by then.
BANNER_CHECK_EVERY_S = 15.0

# A refused login is not repeated (accounts get locked), but for a server that reboots.
LOGIN_WORKED_S = 24 * HOUR_S
REBOOT_RETRIES_S = (120.0, 900.0)
REFUSED_WINDOW_S = 600.0
REFUSED_MAX = 2

# Changed keys are tried beside a living master; a certificate that is renewed every few minutes is no news.
TRIALS_PER_HOUR = 6

# Herding: MaxStartups 10:30:100 starts to drop at ten unauthenticated connections.
UNAUTHENTICATED_PER_SERVER = 6
UNAUTHENTICATED_IN_ALL = 16
# A connection that a move cut short hangs at the server until its LoginGraceTime, and counts there meanwhile.
LOGIN_GRACE_S = 120.0
UNAUTHENTICATED_AND_CUT = 9
UNFINISHED_WINDOW_S = 30.0
UNFINISHED_PER_WINDOW = 5  # OpenSSH 9.8 penalises an address for each, and refuses it from about 15 on
UNFINISHED_PER_HOST = 2  # where that is more: two moves must hold up none of many hosts
FAILED_WINDOW_S = 60.0
FAILED_PER_WINDOW = 6
# A host whose master dies right after each login; a user who moves needs far fewer.
LOGINS_WINDOW_S = 300.0
LOGINS_PER_WINDOW = 20

# A whole connection to one machine: ConnectTimeout covers TCP and banner only, not key exchange and login. Each jump
# host is one more of them. On a slow line a login takes nine round trips, and one more for each key refused.
ATTEMPT_DEADLINE_S = 30.0
LOGIN_ROUND_TRIPS = 15
# Connections that one attempt begins beside its first, each over a way that was not there before: no more in a network
# that flaps than may be cut (ABORTS_PER_WINDOW).
REDIALS_MAX = 4
BARE_CONTROL_DEADLINE_S = 5.0

# A forward that failed is asked again, at a pace that a server's log can bear.
FORWARD_RETRY_FIRST_S = 1.0
FORWARD_RETRY_MAX_S = 60.0

# A dialog that asks for a VPN's password or code: a code is fetched from a phone in less.
ASKED_S = 60.0
