/** Events since the stack was made. Names are stable: metrics and `explain` show them. */
export class Counters {
  /** IP packets and octets that came in and went out. */
  packetsIn = 0;
  packetsOut = 0;
  octetsIn = 0;
  octetsOut = 0;
  /** Dropped: did not parse, or the IPv4 header checksum failed. */
  ipMalformed = 0;
  /** Dropped: not to one of our addresses. */
  ipNotOurs = 0;
  /** Dropped: source address that nobody can have. */
  ipBadSource = 0;
  ipUnknownProtocol = 0;
  fragmentsIn = 0;
  fragmentsOut = 0;
  packetsReassembled = 0;
  /** Datagrams given up: overlap, timeout, memory. */
  reassemblyFailed = 0;
  /** Dropped on the way out because the queue was full, or because the MTU had become smaller meanwhile. */
  queueFull = 0;
  packetsTooLarge = 0;
  icmpMalformed = 0;
  icmpEchoAnswered = 0;
  icmpErrorsIn = 0;
  /** ICMP errors about something that was never sent, or outside of the window (RFC 5927). */
  icmpErrorsImplausible = 0;
  icmpErrorsOut = 0;
  icmpErrorsSuppressed = 0;
  udpIn = 0;
  udpOut = 0;
  udpMalformed = 0;
  udpNoPort = 0;
  /** Dropped because the application did not fetch its datagrams. */
  udpReceiveFull = 0;
  tcpSegmentsIn = 0;
  tcpSegmentsOut = 0;
  tcpMalformed = 0;
  tcpActiveOpens = 0;
  tcpPassiveOpens = 0;
  tcpBacklogFull = 0;
  tcpResetsIn = 0;
  tcpResetsOut = 0;
  tcpRetransmits = 0;
  tcpTimeouts = 0;
  tcpFastRecoveries = 0;
  /** Recoveries from what was late and not lost (RFC 3522). */
  tcpSpuriousRecoveries = 0;
  tcpOutOfOrder = 0;
  tcpDuplicateText = 0;
  /** Dropped by PAWS (RFC 7323 §5). */
  tcpPaws = 0;
  /** Challenge ACKs sent, and not sent because there were too many (RFC 5961). */
  tcpChallengeAcks = 0;
  tcpChallengeAcksSuppressed = 0;
  tcpZeroWindowProbes = 0;
  tcpKeepAlives = 0;
  /** Times that a path seemed to swallow large segments in silence. */
  tcpBlackHoles = 0;
  /** Dropped because buffer memory was short. */
  tcpOutOfMemory = 0;
  tcpSackReneged = 0;
}
