export {
  type Candidate,
  choosePlane,
  type Lack,
  lacksFor,
  namedPlane,
  PLANE_ORDER,
  type PlaneDecision,
  type PlaneUse,
} from './backends/choice.ts';
export { backends } from './backends/index.ts';
export { default as memoryBackend, MemoryPlane, type MemoryPlaneRecord } from './backends/memory.ts';
export { default as netnsBackend, NetnsPlane } from './backends/netns.ts';
export { default as netstackBackend } from './backends/netstack.ts';
export { type ChosenBackend, chooseBackend, probePlanes } from './choose.ts';
export {
  type Backend,
  type ChildCounters,
  type DataPlane,
  type DataPlaneOptions,
  DEFAULT_MTU,
  type DirectionCounters,
  defineBackend,
  type EspPath,
  type PlaneFeature,
  type ProbeResult,
  type SequenceNumbers,
  type ShuntPolicy,
  type TrapPolicy,
} from './data-plane.ts';
export type { NetstackPlane } from './netstack-hosts.ts';
