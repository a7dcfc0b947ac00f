import { type FailureCode, type Millis, Ready } from '../ready.ts';
import { tuneReceiveBuffer, windowUpdateDue } from './receive-window.ts';
import type { Tcb } from './tcb.ts';
import { Timer } from './timers.ts';
import { fail, limitFinWait2, setTimer, transition } from './transition.ts';

/** The user calls of RFC 9293 §3.10.2 to §3.10.5, behind `TcpConnection`. */

export function writeCall(tcb: Tcb, data: Uint8Array): number {
  if (!mayWrite(tcb)) return 0;
  const taken = tcb.sendBuffer.append(data, sendLimit(tcb));
  if (taken < data.length) {
    tcb.writeBlocked = true;
    if (tcb.sendBuffer.length < tcb.host.config.sendBuffer) tcb.host.starved(tcb);
  }
  if (taken > 0) tcb.host.wantOutput(tcb);
  return taken;
}

/** Octets that may still be written: the send buffer follows twice the congestion window, between its bounds. */
export function sendLimit(tcb: Tcb): number {
  return mayWrite(tcb) ? Math.max(0, sendCapacity(tcb) - tcb.sendBuffer.length) : 0;
}

/** After room was made: tells a writer that waits, once it is worth it. */
export function offerRoom(tcb: Tcb): void {
  if (!tcb.writeBlocked || sendLimit(tcb) < sendCapacity(tcb) / 4) return;
  tcb.writeBlocked = false;
  tcb.host.notify(tcb, Ready.WRITABLE);
}

export function readCall(tcb: Tcb, into: Uint8Array): number {
  const length = tcb.receiveBuffer.read(into);
  if (length === 0) return 0;
  tcb.receiveBuffer.releaseWhenEmpty(tcb.outOfOrder.count > 0);
  tuneReceiveBuffer(tcb, length, tcb.host.now);
  if (mayReceive(tcb) && windowUpdateDue(tcb)) {
    tcb.ackNow = true;
    tcb.host.wantOutput(tcb);
  }
  return length;
}

/** CLOSE of RFC 9293 §3.10.4, which leaves reading open. */
export function shutdownCall(tcb: Tcb): void {
  if (tcb.finQueued || tcb.state === 'CLOSED') return;
  tcb.finQueued = true;
  finishWriting(tcb);
}

/** Goes on to the states behind our FIN, once the handshake is over. */
export function finishWriting(tcb: Tcb): void {
  if (!tcb.finQueued) return;
  if (tcb.state === 'ESTABLISHED') transition(tcb, 'FIN-WAIT-1');
  else if (tcb.state === 'CLOSE-WAIT') transition(tcb, 'LAST-ACK');
  else return;
  tcb.host.wantOutput(tcb);
}

export function closeCall(tcb: Tcb): void {
  if (tcb.readClosed || tcb.state === 'CLOSED') {
    tcb.readClosed = true;
    tcb.receiveBuffer.clear();
    return;
  }
  tcb.readClosed = true;
  tcb.stalledSince = tcb.host.now;
  // RFC 9293 §3.10.4: in SYN-SENT there is nothing to close in order.
  if (tcb.state === 'SYN-SENT') {
    fail(tcb, 'ECONNABORTED');
    return;
  }
  // RFC 9293 §3.6.1: what was received and not read is lost; the peer has to know.
  if (tcb.receiveBuffer.readable > 0) {
    abortCall(tcb, 'ECONNABORTED');
    return;
  }
  shutdownCall(tcb);
  limitFinWait2(tcb);
}

/** ABORT of RFC 9293 §3.10.5. */
export function abortCall(tcb: Tcb, reason: FailureCode): void {
  switch (tcb.state) {
    case 'SYN-RECEIVED':
    case 'ESTABLISHED':
    case 'FIN-WAIT-1':
    case 'FIN-WAIT-2':
    case 'CLOSE-WAIT':
      tcb.host.sendReset(tcb, tcb.sndNxt);
      break;
    default:
      break;
  }
  fail(tcb, reason);
}

export function noDelayCall(tcb: Tcb, noDelay: boolean): void {
  tcb.noDelay = noDelay;
  if (noDelay) tcb.host.wantOutput(tcb);
}

export function keepAliveCall(tcb: Tcb, enabled: boolean, idle?: Millis): void {
  tcb.keepAlive = enabled;
  if (idle !== undefined) tcb.keepAliveIdle = idle;
  if (!enabled) tcb.timers.clear(Timer.KEEP_ALIVE);
  else startKeepAlive(tcb);
}

/** Once the connection is established, or at once when it is. */
export function startKeepAlive(tcb: Tcb): void {
  if (tcb.keepAlive && tcb.synchronized && tcb.state !== 'TIME-WAIT') setTimer(tcb, Timer.KEEP_ALIVE, tcb.host.now + tcb.keepAliveIdle);
}

function sendCapacity(tcb: Tcb): number {
  const { sendBuffer, maxSendBuffer } = tcb.host.config;
  return Math.max(sendBuffer, Math.min(maxSendBuffer, Math.floor(2 * (tcb.congestion?.window ?? 0))));
}

function mayWrite(tcb: Tcb): boolean {
  if (tcb.finQueued) return false;
  return tcb.state === 'ESTABLISHED' || tcb.state === 'CLOSE-WAIT' || tcb.state === 'SYN-SENT' || tcb.state === 'SYN-RECEIVED';
}

function mayReceive(tcb: Tcb): boolean {
  return tcb.state === 'ESTABLISHED' || tcb.state === 'FIN-WAIT-1' || tcb.state === 'FIN-WAIT-2';
}
