"""Every time constant of the policy in one file, in seconds, each with its reason."""

from __future__ import annotations

from math import inf

NEVER = -inf  # the time of an event that has not happened

# How silence is judged. The factors are round trips of the judged connection.
SILENT_RTTS_SOURCE_DIFFERS = 2
SILENT_FLOOR_SOURCE_DIFFERS_S = 0.150  # with less, a busy server would seem silent
SILENT_RTTS = 4
SILENT_FLOOR_S = 0.500  # enough for one retransmission at Linux' minimum RTO (200 ms)
RETRANSMISSION_NEAR_S = 3.0  # the user should not wait longer for a retransmission
# If the path is again the one on which the master was last alive, the master very likely lives. It is silent only
# because TCP backed off during a short stay on another network. The user's sessions are worth this wait.
RETURNED_NEAR_S = 10.0
# If a program uses such a master, the wait may end this long after the return. TCP doubles its wait with each short
# stay elsewhere, and a stay of 4 s, repeated, led to waits of 11 to 12 s.
RETURNED_USED_S = 20.0
RETRANSMISSION_RTTS = 2  # one round trip for the answer, one for jitter
RTT_UNKNOWN_S = 0.200  # the round trip of a slow but common path, used while no round trip is known
RTT_BOUNDS_S = (0.001, 3.0)

# While the server acknowledges data that was sent after a change, the verdict waits, because the answer is queued
# behind the user's own traffic. Acknowledgements may pause for this many current round trips, queues included.
FLOWING_RTTS = 2
# While data comes from the server, the answer may wait behind it in the server's own queue. It may pause for this time:
# long if only silence caused the doubt, since flows that share a slow line make each other pause.
HEARD_S = 5.0
HEARD_UNCHANGED_PATH_S = 30.0
# A middlebox or a jump host may acknowledge data for a server that is gone. So the answer must arrive within this time
# after the data queued before the probe was acknowledged.
ACKED_UNANSWERED_S = 60.0
# If seconds of data are queued on a line, a retransmission is this many round trips away even without a fault.
RETRANSMISSION_NEAR_RTTS = 3
RTT_OF_NOW_MAX_S = 5.0

# The kernel moves a connection to another address (MPTCP) within a few round trips, unless it must repeat a SYN.
ADRIFT_S = 3.0
ADRIFT_CHECK_S = 0.1
# A Multipath TCP connection that the agent made joins from the new address in two round trips. A login meanwhile would
# be cut off, and servers penalize that. So where such a connection worked before, a control begins after this time.
MPTCP_JOIN_S = 0.200
MPTCP_JOIN_RTTS = 4
MPTCP_CHECK_S = 0.025  # how often to check meanwhile whether it has joined
# After this many moves, many servers refuse the next one, because they count paths that are gone. Then the agent waits
# no longer for it than a login takes. A connection that passed this number will pass the next ones, too.
MPTCP_JOINS_SURE = 2

# How long the agent knows that a server speaks Multipath TCP. Each such connection renews it.
MPTCP_SEEN_S = 30 * 86_400.0
# How long connections stay plain TCP after a tunnel for everything was up, because the next one would come up beside
# them. Many people use such a VPN only when they travel.
MPTCP_TUNNEL_S = 90 * 86_400.0
MPTCP_TUNNEL_NOTED_S = 86_400.0  # a later time is stored at most once a day
# How long connections on a network are plain TCP after one failed there. A lost SYN looks like one that a middlebox
# dropped, and middleboxes change, so not longer than a day. Until the network is identified, this concerns every
# network on its interface that is not identified either.
MPTCP_PLAIN_S = 86_400.0
MPTCP_UNIDENTIFIED_S = 600.0
# Some middleboxes drop the SYNs of Multipath TCP. A plain connection follows when an answer is that late. A second
# connection that a server saw would count as one cut off before its login.
MPTCP_PLAIN_AFTER_S = 0.250
MPTCP_PLAIN_AFTER_RTTS = 3

# A master that stopped listening ends with its last session. If such a master carries nothing for this time and still
# runs, the agent ends it. A crash of the agent in the middle of a take-over leaves such masters.
IDLE_DRAINING_S = 10.0
# A master whose socket was removed cannot be made to stop listening, and no event reports the end of its last session.
# So the agent counts its sessions at this interval.
STAYING_COUNT_S = 60.0

# A suspended process cannot read an answer. No event reports that the process continues, except the answer to a
# probe. If the connection is dead, no answer comes. So the agent checks at this interval.
STOPPED_CHECK_S = 5.0

# To hide the rhythm of keystrokes, ssh (9.5 or newer) may keep a probe in its own buffer after the user typed. Once it
# continues after a suspend, it does so for as long as the suspend lasted, unless it wakes up for another reason more
# than 3.1 s after the last keystroke (SSH_KEYSTROKE_CHAFF_MIN_MS and _RNG_MS in clientloop.c). So the agent wakes it up
# at this interval. The limit is long enough for several of these checks.
UNSENT_CHECK_S = 1.0
UNSENT_S = 10.0

# If the name of a silent master's server no longer leads to the master's address, that address may be gone for good
# (dynamic DNS), or the name leads to one of several machines in turn, and this one may be busy. A session there is
# worth this wait, because a server seldom changes its address.
RENAMED_S = 20.0

# An address may flicker (DHCP renewal, a supplicant's restart). An address counts as gone only after this time.
ADDRESS_GONE_S = 0.250
# While an interface has a link but no address, it is being configured again, and DHCP often gives the same address.
# NetworkManager's activation took 1 to 3 s. The wait only matters where another network is up meanwhile.
READDRESSED_S = 4.0

# After a random delay of at most 1 s, an IPv6 address is tentative for 1 s (RFC 4862, 5.4). The kernel sends nothing
# from a tentative address, and the address's connections continue afterwards. If an address stays tentative longer,
# its network rejected it.
TENTATIVE_S = 3.0

# The agent may read the answer to a probe this long after the answer arrived. If the network changed in between, the
# answer does not prove that the connection survived the change.
CROSSED_S = 0.100

# The kernel knows a gateway's hardware address only after it sent a packet to the gateway. Its messages about that also
# come on an idle laptop, so the agent does not listen to them. Instead it reads the network again at these times after
# a change, while a host waits for the identity of the network. The last one follows the keep-alive of a silent master.
READ_AGAIN_S = (0.3, 1.0, 3.0, 10.0, 70.0)
READ_AGAIN_SPACING_S = 1.0  # also at any other event, but not more often than this

# After a wake, the network differs from the snapshot for a while.
WOKEN_S = 30.0
END_AFTER_WAKE_S = 60.0  # after a wake, the offline timer ends no master sooner than this

# Many hosts log in one after another for this long at most before the first of them gets its sentinel.
SENTINEL_LATEST_S = 10.0

# When the user views the status (command, menu, attach), masters with an older proof of life are probed again.
PROBE_ON_VIEW_S = 30.0

# While a host is used, data without an acknowledgement starts a probe. The kernel has then sent it five times: with its
# shortest timer of 200 ms that takes 3 s, and always at least 15 round trips.
STALLED_RETRANSMISSIONS = 4
# If a lost packet started the probe and not a change of network, the line may be lossy. So a master must miss more
# than one retransmission after the control succeeded, and many if the control itself lost packets.
GRACES = 1
GRACES_UNCHANGED_PATH = 2
GRACES_LOSSY = 8
# Such probes may replace a host's master this often in LOGINS_WINDOW_S. If they do it more often, the line is at fault.
STALLS_PER_WINDOW = 3

# The back-off while the server or its route is down.
RETRY_FIRST_S = 1.0
RETRY_MAX_S = 300.0
REARM_EVERY_S = 30.0
REARM_PER_HOUR = 6
HOUR_S = 3600.0

# The back-off after the server dropped or throttled us. If we try too often, MaxStartups and PerSourcePenalties
# (OpenSSH 9.8) also lock out everyone else behind our NAT.
DROPPED_FIRST_S = 20.0
DROPPED_MAX_S = 600.0
BOOTING_S = 20.0

# While a file system on this machine is full. An attempt costs one small write then, and no server sees it.
UNWRITABLE_S = 30.0

# The agent notices within this time that a rebooted server is up, even if the back-off is longer.
BANNER_CHECK_EVERY_S = 15.0
# In the first minute after a server began to drop us, the user still waits. If a move cut logins short, the penalty
# lasts 20 s for each of them, and often ends in that minute. sshd does not penalize a connection that it drops.
BANNER_CHECK_FIRST_S = 10.0

# A refused login is not repeated, because the account could get locked. The exception is a server that reboots.
LOGIN_WORKED_S = 24 * HOUR_S
REBOOT_RETRIES_S = (120.0, 900.0)
REFUSED_WINDOW_S = 600.0
REFUSED_MAX = 2
# After a login whose answer nobody read, the next one waits until the network was stable for so long, but not forever.
SETTLED_S = 2.0
SETTLED_MAX_S = 30.0
# An account that has just accepted a login from this network accepts more, so many hosts may follow the first.
LET_IN_LATELY_S = 60.0

# Changed keys are tried beside a living master. The limit is for certificates that are renewed every few minutes.
TRIALS_PER_HOUR = 6

# Many hosts at once: MaxStartups 10:30:100 starts to drop at ten unauthenticated connections.
UNAUTHENTICATED_PER_SERVER = 6
UNAUTHENTICATED_IN_ALL = 16
# If a move cuts a connection short, the server still counts that connection until LoginGraceTime has passed.
LOGIN_GRACE_S = 120.0
UNAUTHENTICATED_AND_CUT = 9
UNFINISHED_WINDOW_S = 30.0
UNFINISHED_PER_WINDOW = 5  # OpenSSH 9.8 penalizes each, and refuses an address after about 15
# If many hosts share a server, the limit is this for each host, so that two moves delay none of them.
UNFINISHED_PER_HOST = 2
# In a flapping network, the carrier is lost and comes back. A login that the server has seen waits this long for the
# carrier. TCP continues at most this long after the carrier is back, but the server would count a connection that we
# cut.
CARRIER_BACK_S = 2.0
FAILED_WINDOW_S = 60.0
FAILED_PER_WINDOW = 6
# A connection that ends sooner after its login, on the same network, was ended by the server.
SHORT_LIFE_S = 5.0
# The limit for a host whose connections end soon after each login. A user who moves needs far fewer logins.
LOGINS_WINDOW_S = 300.0
LOGINS_PER_WINDOW = 20

# The deadline for a whole connection to one machine. ConnectTimeout covers only TCP and banner, not key exchange and
# login. Each jump host is one more machine. On a slow line the deadline grows with the round trip: a login takes nine
# round trips, and one more for each refused key.
ATTEMPT_DEADLINE_S = 30.0
LOGIN_ROUND_TRIPS = 15
# How many further connections one attempt may begin, each over a new route. In a flapping network they must not
# exceed the connections that may be cut short (UNFINISHED_PER_WINDOW).
REDIALS_MAX = 4
BARE_CONTROL_DEADLINE_S = 5.0

# How long the sessions of a roaming host wait for its link: a night, and a morning without a network.
ROAM_FOR_S = 12 * HOUR_S
# The pause after roaming could not be started. The host stays connected meanwhile, and each start costs a login.
ROAMING_RETRY_FIRST_S = 60.0
# If an inner master ends sooner than this, the next one may end soon, too.
ROAMING_SHORT_LIFE_S = 300.0

# A spare master is made only after the network, and every other login, has had this time to settle.
STANDBY_SETTLED_S = 5.0
# The pause after a spare master was lost, or its login failed. Nobody waits for the next one, and each one costs a
# login and the battery. One that lived this long is no sign of a network that loses them.
STANDBY_RETRY_FIRST_S = 60.0
STANDBY_RETRY_MAX_S = HOUR_S
STANDBY_LONG_LIFE_S = 600.0
# If a spare master does not answer within this time, its connection is lost.
STANDBY_LOST_S = 5.0

# A failed forward is requested again, slowly enough for a server's log.
FORWARD_RETRY_FIRST_S = 1.0
FORWARD_RETRY_MAX_S = 60.0

# A dialog asks for a VPN's password or code. Fetching a code from a phone takes less than this.
SECRET_ENTRY_S = 60.0
