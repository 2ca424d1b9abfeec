package com.example;

import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;
import org.apache.dubbo.rpc.RpcContext;

/** The account service on Dubbo 3.3. */
public class Provider {
    public static void main(String[] args) throws Exception {
        Options options = new Options(args);
        int port = options.number("port", 20880);
        int qosPort = options.number("qos", 22222);

        ApplicationConfig application = new ApplicationConfig("accounts");
        application.setQosEnable(true);
        application.setQosPort(qosPort);
        application.setQosAcceptForeignIp(false);

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
        service.setInterface(AccountService.class);
        service.setRef(new Accounts(() -> RpcContext.getServerAttachment().getAttachments()));
        service.setVersion(options.text("version"));
        service.setGroup(options.text("group"));

        DubboBootstrap.getInstance()
                .application(application)
                .registry(registry(options.text("registry")))
                .protocol(protocol)
                .service(service)
                .start();
        Options.serve(port, qosPort);
    }

    private static RegistryConfig registry(String address) {
        RegistryConfig registry = new RegistryConfig(address == null ? "N/A" : address);
        registry.setRegisterMode("interface");
        return registry;
    }
}
