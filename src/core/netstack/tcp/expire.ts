import { judgePathProbe, suspectBlackHole } from './path-mtu-search.ts';
import { judgeOverdue, recoverFromTimeout } from './recovery.ts';
import { probeExpired } from './tail-loss.ts';
import type { Tcb } from './tcb.ts';
import { owe } from './text.ts';
import { Timer } from './timers.ts';
import { fail, setTimer, transition } from './transition.ts';

/** Lets every timer that is due fire (RFC 9293 §3.10.8). */
export function expireTimers(tcb: Tcb): void {
  for (const [timer, fire] of FIRE) {
    if (tcb.timers.at(timer) > tcb.host.now) continue;
    tcb.timers.clear(timer);
    fire(tcb);
    if (tcb.state === 'CLOSED') return;
  }
}

/** RFC 6298 (5.4) to (5.7). */
function retransmit(tcb: Tcb): void {
  const { host } = tcb;
  host.counters.tcpTimeouts++;
  if (!tcb.synAcknowledged) {
    tcb.handshakeLost = true;
    tcb.synDue = true;
    tcb.timeouts++;
    tcb.rtt.backOff();
    host.counters.tcpRetransmits++;
    host.wantOutput(tcb);
    return;
  }
  if (tcb.board.count === 0) return;
  if (gaveUp(tcb)) {
    fail(tcb, tcb.softError ?? 'ETIMEDOUT');
    return;
  }
  recoverFromTimeout(tcb);
  judgePathProbe(tcb);
  tcb.timeouts++;
  tcb.rtt.backOff();
  suspectBlackHole(tcb);
  host.wantOutput(tcb);
}

/** R2 of RFC 9293 §3.8.3. A peer that keeps its window closed but answers is alive (§3.8.6.1). */
function gaveUp(tcb: Tcb): boolean {
  const { now, config } = tcb.host;
  if (now - tcb.stalledSince < config.userTimeout) return false;
  return tcb.sndWnd > 0 || now - tcb.lastHeard >= config.userTimeout;
}

/** RFC 9293 §3.8.6.1, and the override of §3.8.6.2.1. */
function persist(tcb: Tcb): void {
  const { host } = tcb;
  if (tcb.persistBackoff > 0 && host.now - (tcb.readClosed ? tcb.stalledSince : tcb.lastHeard) >= host.config.userTimeout) {
    // RFC 6429 §5: what nobody here waits for any more need not be kept for a peer that never reads.
    if (tcb.readClosed) host.sendReset(tcb, tcb.sndNxt);
    fail(tcb, tcb.softError ?? 'ETIMEDOUT');
    return;
  }
  if (tcb.sndWnd > 0 && tcb.board.count === 0) tcb.overrideSws = true;
  else tcb.probeDue = true;
  tcb.persistBackoff = Math.min(tcb.persistBackoff + 1, MAX_BACKOFF);
  const interval = Math.min(tcb.rtt.rto * 2 ** tcb.persistBackoff, host.config.maxRto);
  setTimer(tcb, Timer.PERSIST, host.now + interval);
  host.wantOutput(tcb);
}

/** RFC 9293 §3.8.4. */
function keepAlive(tcb: Tcb): void {
  const { host } = tcb;
  const { config, now } = host;
  const quiet = now - tcb.lastHeard;
  // What is under way has its own timer.
  if (quiet < tcb.keepAliveIdle || tcb.board.count > 0) {
    tcb.keepAliveProbes = 0;
    setTimer(tcb, Timer.KEEP_ALIVE, tcb.board.count > 0 ? now + tcb.keepAliveIdle : tcb.lastHeard + tcb.keepAliveIdle);
    return;
  }
  if (tcb.keepAliveProbes >= config.keepAliveProbes) {
    host.sendReset(tcb, tcb.sndNxt);
    fail(tcb, tcb.softError ?? 'ETIMEDOUT');
    return;
  }
  tcb.keepAliveProbes++;
  tcb.keepAliveDue = true;
  setTimer(tcb, Timer.KEEP_ALIVE, now + config.keepAliveInterval);
  host.wantOutput(tcb);
}

function pace(tcb: Tcb): void {
  tcb.host.wantOutput(tcb);
}

function linger(tcb: Tcb): void {
  transition(tcb, 'CLOSED');
}

function connectTimedOut(tcb: Tcb): void {
  fail(tcb, tcb.softError ?? 'ETIMEDOUT');
}

const FIRE: readonly (readonly [Timer, (tcb: Tcb) => void])[] = [
  [Timer.CONNECT, connectTimedOut],
  [Timer.LINGER, linger],
  [Timer.REORDER, judgeOverdue],
  [Timer.PACE, pace],
  [Timer.LOSS_PROBE, probeExpired],
  [Timer.RETRANSMIT, retransmit],
  [Timer.PERSIST, persist],
  [Timer.DELAYED_ACK, owe],
  [Timer.KEEP_ALIVE, keepAlive],
];

const MAX_BACKOFF = 16;
