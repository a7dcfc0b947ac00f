export { createGateway, Gateway, type GatewayOptions } from './gateway.ts';
