import { type FailureCode, type Millis, Ready } from '../ready.ts';
import { assertTransition, type TcpState } from './state.ts';
import type { Tcb } from './tcb.ts';
import { Timer } from './timers.ts';

/** The one way to another state. */
export function transition(tcb: Tcb, to: TcpState): void {
  assertTransition(tcb.state, to);
  tcb.state = to;
  if (to === 'ESTABLISHED') tcb.host.established(tcb);
  else if (to === 'TIME-WAIT') enterTimeWait(tcb);
  else if (to === 'CLOSED') enterClosed(tcb);
}

/** The connection ends with an error, at once. */
export function fail(tcb: Tcb, error: FailureCode): void {
  if (tcb.state === 'CLOSED') return;
  tcb.error = error;
  transition(tcb, 'CLOSED');
}

export function setTimer(tcb: Tcb, timer: Timer, at: Millis): void {
  tcb.timers.set(timer, at);
  tcb.host.timersChanged(tcb);
}

/** The application closed and nobody is left to wait for the peer's FIN for ever. */
export function limitFinWait2(tcb: Tcb): void {
  if (tcb.state === 'FIN-WAIT-2' && tcb.readClosed) setTimer(tcb, Timer.LINGER, tcb.host.now + tcb.host.config.finWait2);
}

function enterTimeWait(tcb: Tcb): void {
  // RFC 9293 §3.10.7.4: start the time-wait timer, turn off the other timers.
  tcb.timers.clearAll();
  setTimer(tcb, Timer.LINGER, tcb.host.now + tcb.host.config.timeWait);
  tcb.sendBuffer.clear();
  tcb.board.clear();
  tcb.host.lingers(tcb);
}

function enterClosed(tcb: Tcb): void {
  tcb.timers.clearAll();
  tcb.sendBuffer.clear();
  tcb.board.clear();
  tcb.outOfOrder.clear();
  // After an orderly close what arrived may still be read; after an error it is lost, as everywhere.
  if (tcb.error !== undefined || tcb.readClosed) tcb.receiveBuffer.clear();
  tcb.host.closed(tcb);
  tcb.host.notify(tcb, Ready.CLOSED);
}
