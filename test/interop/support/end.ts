/** What a scenario asks of either end of a tunnel, whoever made it. */
export interface End {
  readonly name: string;
  /** Brings up the tunnel; fails with what the end says about it. */
  initiate(): Promise<void>;
  ikeSas(): Promise<readonly IkeSaSeen[]>;
  rekeyChild(): Promise<void>;
  rekeyIke(): Promise<void>;
  deleteChild(): Promise<void>;
  deleteIke(): Promise<void>;
  /** Sends echo requests through the tunnel and gives the number of answers. */
  ping(to: string, count: number): Promise<number>;
  /** One TCP connection through the tunnel, octets both ways at once; `listen` is ready when the outer promise resolves. */
  listen(port: number, octets: number): Promise<{ readonly done: Promise<Exchanged> }>;
  connect(to: string, port: number, octets: number): Promise<Exchanged>;
  /** What it logged, for the text of a failure. */
  log(): string;
}

/** SHA-256 of what one end of a TCP connection sent and received until the other closed. */
export interface Exchanged {
  readonly sent: string;
  readonly received: string;
  readonly octetsReceived: number;
}

export interface IkeSaSeen {
  readonly id: string;
  readonly established: boolean;
  /** Hexadecimal, 16 digits; empty where an end does not tell. */
  readonly spiI: string;
  readonly spiR: string;
  readonly remoteId: string;
  readonly children: readonly ChildSaSeen[];
}

export interface ChildSaSeen {
  readonly id: string;
  readonly name: string;
  readonly installed: boolean;
  /** Hexadecimal, 8 digits. */
  readonly spiIn: string;
  readonly spiOut: string;
  readonly octetsIn: number;
  readonly octetsOut: number;
}
