export { Client, type ClientOptions, type ConnectOptions, connect, createClient } from './client.ts';
export { Tunnel } from './tunnel.ts';
