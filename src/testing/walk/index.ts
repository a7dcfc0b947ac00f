/**
 * Random walks: a seed makes a small world of real endpoints on a simulated internet, and draws some hundred steps from everything that
 * an operator, a network or an attacker can do. The invariants hold at each of them, or the walk says why not and how to replay it.
 */
export { Coverage, coverageTable, coveredWalk, UNREACHED } from './coverage.ts';
export { INVARIANTS, type InvariantName } from './invariants.ts';
export { flippedRows, MISTAKES, type Mutation } from './mutations.ts';
export { explainWalk } from './report.ts';
export { runWalk, type WalkOptions } from './runner.ts';
