package com.example;

import com.alibaba.dubbo.config.ApplicationConfig;
import com.alibaba.dubbo.config.ProtocolConfig;
import com.alibaba.dubbo.config.RegistryConfig;
import com.alibaba.dubbo.config.ServiceConfig;
import com.alibaba.dubbo.qos.server.Server;
import com.alibaba.dubbo.rpc.RpcContext;

/** The account service on Dubbo 2.6. */
public class Provider {
    public static void main(String[] args) throws Throwable {
        Options options = new Options(args);
        int port = options.number("port", 20880);
        int qosPort = options.number("qos", 22222);

        ProtocolConfig protocol = new ProtocolConfig();
        protocol.setName("dubbo");
        protocol.setHost("127.0.0.1");
        protocol.setPort(port);
        protocol.setCharset(options.text("charset"));
        protocol.setTelnet(options.text("telnet"));
        protocol.setPrompt(options.text("prompt"));
        protocol.setHeartbeat(options.number("heartbeat"));
        protocol.setPayload(options.number("payload"));
        protocol.setThreads(options.number("threads"));
        protocol.setAccepts(options.number("accepts"));

        ServiceConfig<AccountService> service = new ServiceConfig<>();
        service.setApplication(new ApplicationConfig("accounts"));
        service.setRegistry(new RegistryConfig("N/A"));
        service.setProtocol(protocol);
        service.setInterface(AccountService.class);
        service.setRef(new Accounts(() -> RpcContext.getContext().getAttachments()));
        service.setVersion(options.text("version"));
        service.setGroup(options.text("group"));
        service.export();

        // Without a registry QoS is not started by the export.
        Server qos = Server.getInstance();
        qos.setPort(qosPort);
        qos.setAcceptForeignIp(false);
        qos.start();
        Options.serve(port, qosPort);
    }
}
