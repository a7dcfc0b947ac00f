export type { Account, AccountedChild, AccountRecord } from './accounting.ts';
export { createGateway, Gateway, type GatewayOptions } from './gateway.ts';
